"""k-means speed of scikit-learn, the peer of crayon's clustering: one JSON line with seconds, inertia, iterations.

    python benchmarks/kmeans_sklearn.py --data x.npy --clusters 16
    python benchmarks/kmeans_sklearn.py --data x.bin --dim 256 --clusters 16 --init start.bin --max-iter 50

--data is a float32 matrix (n, d): .npy, or raw little-endian bytes with --dim. Rows are L2-normalised first, so that
Euclidean k-means is close to spherical k-means (scikit-learn does not normalise its means; the `cosine` printed is
measured with normalised ones). --init is a file of the same kind with (k, d) starting centres, or k-means++. Timed is
fit alone, once per --repeats, the median reported. Needs numpy and scikit-learn.

    python benchmarks/kmeans_sklearn.py --shards build.building --clusters 16 --centres centres.bin

MiniBatchKMeans over crayon's shards of embeddings (benchmarks/kmeans-shards.ts), which are read batch by batch: as many passes as
--max-iter, in an order of batches drawn with the seed. The centres are written, raw float32.
"""

import argparse
import json
import pathlib
import resource
import statistics
import time

import numpy as np
import sklearn
from sklearn.cluster import KMeans, MiniBatchKMeans
from threadpoolctl import threadpool_info, threadpool_limits


def main() -> None:
    args = parse_args()
    if args.shards:
        print(json.dumps(mini_batch(args)))
        return
    x = normalise(read_matrix(args.data, args.dim))
    init = args.init if args.init == "k-means++" else normalise(read_matrix(args.init, args.dim or x.shape[1]))
    if not isinstance(init, str) and init.shape != (args.clusters, x.shape[1]):
        raise SystemExit(f"--init has shape {init.shape}, expected {(args.clusters, x.shape[1])}")
    seconds = []
    processor = []
    with threadpool_limits(args.threads or None):
        for _ in range(args.repeats):
            model = KMeans(
                args.clusters,
                n_init=args.n_init,
                init=init,
                max_iter=args.max_iter,
                tol=args.tol,
                algorithm="lloyd",
                random_state=args.seed,
            )
            started = time.perf_counter()
            before = time.process_time()
            model.fit(x)
            processor.append(time.process_time() - before)
            seconds.append(time.perf_counter() - started)
        threads = max((pool["num_threads"] for pool in threadpool_info()), default=1)
    centres = normalise(model.cluster_centers_)
    sizes = np.bincount(model.labels_, minlength=args.clusters)
    result = {
        "what": "sklearn-kmeans",
        "seconds": round(statistics.median(seconds), 4),
        "allSeconds": [round(s, 4) for s in seconds],
        "allProcessorSeconds": [round(s, 4) for s in processor],
        "inertia": float(model.inertia_),
        "iterations": int(model.n_iter_),
        "cosine": float(np.einsum("nd,nd->n", x, centres[model.labels_]).mean(dtype=np.float64)),
        "n": x.shape[0],
        "d": x.shape[1],
        "clusters": args.clusters,
        "smallest": int(sizes.min()),
        "largest": int(sizes.max()),
        "threads": threads,
        "sklearn": sklearn.__version__,
    }
    if args.labels:
        model.labels_.astype("<i4").tofile(args.labels)
    print(json.dumps(result))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--shards", help="directory of embeddings-<i>.safetensors, in place of --data")
    parser.add_argument("--batch", type=int, default=4096, help="rows of a batch of --shards")
    parser.add_argument("--centres", help="write the centres of --shards here, raw float32")
    parser.add_argument("--dim", type=int, help="columns of a raw file")
    parser.add_argument("--clusters", type=int, default=16)
    parser.add_argument("--init", default="k-means++")
    parser.add_argument("--n-init", type=int, default=1, help="runs of which the best is kept")
    parser.add_argument("--max-iter", type=int, default=100)
    parser.add_argument("--tol", type=float, default=1e-4, help="0: until no label changes")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--labels", help="write the labels here, raw int32")
    args = parser.parse_args()
    if (args.data is None) == (args.shards is None):
        parser.error("give --data or --shards")
    return args


def mini_batch(args: argparse.Namespace) -> dict:
    paths = sorted(pathlib.Path(args.shards).glob("embeddings-*.safetensors"), key=lambda p: int(p.stem.split("-")[1]))
    shards = [open_shard(path) for path in paths]
    batches = [(s, at) for s, rows in enumerate(shards) for at in range(0, len(rows), args.batch)]
    random = np.random.default_rng(args.seed)
    started = time.perf_counter()
    model = MiniBatchKMeans(args.clusters, random_state=args.seed, n_init=3)
    with threadpool_limits(args.threads or None):
        for _ in range(args.max_iter):
            for i in random.permutation(len(batches)):
                s, at = batches[i]
                rows = np.array(shards[s][at : at + args.batch])
                if len(rows) >= args.clusters:
                    model.partial_fit(rows)
    if args.centres:
        normalise(model.cluster_centers_).astype("<f4").tofile(args.centres)
    return {
        "seconds": time.perf_counter() - started,
        "rounds": args.max_iter,
        "peakMiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def open_shard(path: pathlib.Path) -> np.memmap:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        rows = json.loads(file.read(size))["rows"]
    return np.memmap(path, "<f4", "r", offset=8 + size + rows["data_offsets"][0], shape=tuple(rows["shape"]))


def read_matrix(path: str, dim: int | None) -> np.ndarray:
    if path.endswith(".npy"):
        return np.load(path).astype(np.float32, copy=False)
    if dim is None:
        raise SystemExit(f"{path}: a raw file needs --dim")
    values = np.fromfile(path, dtype="<f4")
    if values.size % dim:
        raise SystemExit(f"{path}: {values.size} numbers are not a multiple of --dim {dim}")
    return values.reshape(-1, dim)


def normalise(x: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return (x / np.maximum(norms, 1e-12)).astype(np.float32)


if __name__ == "__main__":
    main()
