"""Closed loop on BullMQ's port for Python: each client adds a job and waits until a worker has completed it.

Usage: bullmq_loop.py REDIS_PORT CLIENTS SECONDS. Prints the line that the other generators print.
"""

import asyncio
import sys
import time

from bullmq import Queue, Worker

PORT, CLIENTS, SECONDS = (int(text) for text in sys.argv[1:4])
BODY = {"m": "m" * 92}  # 100 bytes as JSON


async def main() -> None:
    connection = f"redis://127.0.0.1:{PORT}"
    queue = Queue("bench", {"connection": connection})
    done: dict[str, asyncio.Future] = {}
    times: list[float] = []

    async def process(_job, _token):
        return 0

    worker = Worker("bench", process, {"connection": connection, "concurrency": CLIENTS})

    def completed(job, _result):
        told = done.pop(job.name, None)
        if told is not None:
            told.set_result(None)

    worker.on("completed", completed)
    start = time.perf_counter() + 1
    until = start + SECONDS

    async def work(client: int) -> None:
        turn = 0
        while (begun := time.perf_counter()) < until:
            name = f"{client}-{turn}"
            turn += 1
            done[name] = told = asyncio.get_running_loop().create_future()
            await queue.add(name, BODY, {"removeOnComplete": True})
            await told
            ended = time.perf_counter()
            if begun >= start and ended <= until:
                times.append(ended - begun)

    await asyncio.gather(*(work(client) for client in range(CLIENTS)))
    times.sort()

    def at(share: float) -> float:
        return times[int((len(times) - 1) * share)] * 1e3 if times else 0.0

    rate = len(times) / SECONDS
    print(f"bullmq-python clients={CLIENTS} ops/s={rate:.0f} p50={at(0.5):.2f}ms p99={at(0.99):.2f}ms")
    await worker.close(True)
    await queue.close()


asyncio.run(main())
