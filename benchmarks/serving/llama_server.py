"""llama.cpp's own server, from the package xllamacpp: python llama_server.py MODEL SEQUENCES CONTEXT THREADS [ADAPTER...]"""

import sys
import time

import xllamacpp

model, sequences, context, threads, *adapters = sys.argv[1:]
params = xllamacpp.CommonParams()
params.model.path = model
params.n_parallel = int(sequences)
params.n_ctx = int(context) * int(sequences)
params.cpuparams.n_threads = int(threads)
params.cpuparams_batch.n_threads = int(threads)
params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 1.0) for path in adapters]
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
while True:
    time.sleep(3600)
