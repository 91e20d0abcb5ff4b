#!/usr/bin/env bash
# Whether two checkouts make the same bytes at the same seeds: pools, blends, exports, a calibrated YAML, a bench run.
#
#     scripts/compare-outputs.sh OLD NEW [WORK]
#
# OLD and NEW are checkouts with node_modules. Prints one line an output and ends with 1 where any differs. Times, dates and
# versions are left out of the bench run's comparison; nothing else is. About 5 minutes on two cores.
set -euo pipefail
old=$(realpath "$1") new=$(realpath "$2") work=$(realpath -m "${3:-$(mktemp -d)}")

mkdir -p "$work"

make_all() { # checkout, directory of its outputs
  local repo=$1 out=$2 server
  [ -e "$out/done" ] && return
  rm -rf "$out" && mkdir -p "$out"
  cd "$repo"
  local crayon=(npx tsx bin/crayon.ts) pool=models/crayon-edge-pool shown=suite/examples/bank.jsonl base=models/crayon-edge
  for kind in tfidf first-attention last-hidden; do
    "${crayon[@]}" build-pool --model $base --data suite/quickstart.yaml --pool "$out/pool-$kind" --clusters 3 --limit 60 \
      --embedding $kind --rank 4 --alpha 8 --epochs 1 --batch-size 16 --learning-rate 1e-2 --seed 7 --backend wasm
  done
  for combine in cat linear 'svd --rank 8'; do
    # shellcheck disable=SC2086
    "${crayon[@]}" blend --pool $pool --examples $shown --out "$out/blend-${combine%% *}" --combine $combine
  done
  "${crayon[@]}" blend --pool "$out/pool-first-attention" --model $base --examples $shown --out "$out/blend-first-attention"
  for type in F16 F32 Q8_0; do "${crayon[@]}" export --gguf "$out/$type.gguf" --model $base --type $type; done
  "${crayon[@]}" export --gguf "$out/adapter.gguf" --model $base --adapter "$out/blend-cat"

  "${crayon[@]}" serve-edge --model models/crayon-server --port 18473 --cache-dir "$work/cache" 2>"$out/server.log" &
  server=$!
  trap 'kill $server 2>/dev/null || true' RETURN
  sed "s#\.\./bank-adapter#$out/blend-cat#; s#\.\./#$repo/#; s#127.0.0.1:8000#127.0.0.1:18473#" configs/edge-demo.yaml >"$out/edge.yaml"
  for _ in $(seq 120); do curl -sf localhost:18473/health >/dev/null && break; sleep 0.5; done
  "${crayon[@]}" calibrate --config "$out/edge.yaml" --data suite/route-bank.yaml --data suite/intent.yaml --limit 40 \
    --target-accuracy 0.9 --parallel 1 --seed 3 --out "$out/calibrated.yaml"
  kill $server

  sed -n '/^name:/,/^users:/p' configs/bench/quick.yaml | sed 's/test_examples: .*/test_examples: 12/; s/limit: 900.*/limit: 60/; s/clusters: 6/clusters: 3/' >"$out/bench.yaml"
  cat >>"$out/bench.yaml" <<'YAML'
  - { name: bank, kind: seen, tasks: [suite/route-bank.yaml] }
  - { name: list-last, kind: seen-kind, tasks: [suite/list-last.yaml] }
  - { name: bank+clinic, kind: mixture, tasks: [suite/route-bank.yaml, suite/route-clinic.yaml] }
strategies: [base, in-context, uniform, random, nearest, one-lora, few-shot-lora, lorahub, crayon, per-query, server]
few_shot: { steps: 6 }
lorahub: { evaluations: 4 }
server: { model: models/crayon-server }
YAML
  "${crayon[@]}" bench --config "$out/bench.yaml" --out "$out/bench" --backend wasm
  touch "$out/done"
}

# What is compared of a bench run: every answer, and every cell without what a clock or a version says.
plain() {
  node -e '
    const drop = /^(latency|ms|.*Ms|seconds|started|finished|createdBy|commit|machine|digest)$/;
    const strip = (x) => Array.isArray(x) ? x.map(strip) : x && typeof x === "object"
      ? Object.fromEntries(Object.entries(x).filter(([k]) => !drop.test(k)).sort().map(([k, v]) => [k, strip(v)])) : x;
    for (const line of require("fs").readFileSync(0, "utf8").split(/\n(?=[{])/)) if (line.trim()) console.log(JSON.stringify(strip(JSON.parse(line))));'
}

make_all "$old" "$work/old" >"$work/old.log" 2>&1 || { tail -20 "$work/old.log"; exit 2; }
make_all "$new" "$work/new" >"$work/new.log" 2>&1 || { tail -20 "$work/new.log"; exit 2; }
status=0
verdict() { # name, command that succeeds where equal
  if "${@:2}"; then echo "same       $1"; else echo "DIFFERENT  $1"; status=1; fi
}
# Not the line by which an editor finds a schema: it comes from the configuration that was calibrated.
plain_text() { sed "s#$work/$1#WORK#g; s#$2#REPO#g; /yaml-language-server/d" "$work/$1/$3"; }
same_text() { cmp -s <(plain_text old "$old" "$1") <(plain_text new "$new" "$1"); }
same_plain() { cmp -s <(plain <"$work/old/bench/$1") <(plain <"$work/new/bench/$1"); }
cd "$work/old"
for file in $(find pool-* blend-* -type f | sort) ./*.gguf; do
  case $file in
    *.json) verdict "$file" same_text "$file" ;;
    *) verdict "$file" cmp -s "$file" "$work/new/$file" ;;
  esac
done
verdict calibrated.yaml same_text calibrated.yaml
cd bench
for file in cells/* answers/*; do verdict "bench/$file" same_plain "$file"; done
exit $status
