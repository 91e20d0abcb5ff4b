# crayon in an image, for nodes that train (docs/scale.md): docker build -t registry/crayon .
# With llama.cpp, which serve-edge, calibrate and route need and a build does not: --build-arg LLAMA=yes

FROM node:20-slim AS build
WORKDIR /crayon
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY . .
RUN npm run build && npm prune --omit=dev --ignore-scripts
ARG LLAMA=no
RUN [ "$LLAMA" = yes ] || rm -rf node_modules/node-llama-cpp node_modules/@node-llama-cpp

FROM node:20-slim
ENV NODE_ENV=production
WORKDIR /crayon
COPY --from=build /crayon/package.json ./
COPY --from=build /crayon/node_modules node_modules
COPY --from=build /crayon/models models
COPY --from=build /crayon/configs configs
COPY --from=build /crayon/scripts/trainers scripts/trainers
COPY --from=build /crayon/dist dist
# by number: runAsNonRoot of Kubernetes knows no names
USER 1000:1000
ENTRYPOINT ["node", "/crayon/dist/bin/crayon.js"]
