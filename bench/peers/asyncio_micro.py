#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What asyncio's own operations cost: prints "name nanoseconds" lines."""

import asyncio
import concurrent.futures
import statistics
import sys
import threading
import time

LONG = 3600


async def one():
    return 1


async def yield_once():
    await asyncio.sleep(0)


async def spawn_join(count):
    for _ in range(count):
        await asyncio.create_task(one())


async def yield_(count):
    for _ in range(count):
        await asyncio.sleep(0)


async def nested_await(count):
    for _ in range(count):
        await one()


async def cancel_sleeper(count):
    for _ in range(count):
        sleeper = asyncio.create_task(asyncio.sleep(LONG))
        await asyncio.sleep(0)
        sleeper.cancel()
        try:
            await sleeper
        except asyncio.CancelledError:
            pass


async def timer_insert_cancel(count):
    loop = asyncio.get_running_loop()
    for _ in range(count):
        loop.call_later(LONG, print).cancel()


async def mutex(count):
    lock = asyncio.Lock()
    for _ in range(count):
        async with lock:
            pass


async def channel64(count):
    items = asyncio.Queue(64)

    async def produce():
        for number in range(count):
            await items.put(number)

    producer = asyncio.create_task(produce())
    for _ in range(count):
        await items.get()
    await producer


async def queue(count):
    items = asyncio.Queue(64)
    for number in range(count):
        await items.put(number)
        await items.get()


async def gather_10(count):
    for _ in range(count):
        await asyncio.gather(*(yield_once() for _ in range(10)))


async def task_group_10(count):
    for _ in range(count):
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(yield_once())


async def count_up(count):
    for number in range(count):
        yield number


async def generator_next(count):
    async for _ in count_up(count):
        pass


async def median_of(count, once):
    times = []
    for _ in range(count):
        start = time.perf_counter_ns()
        await once()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times)


async def pool_roundtrip(count):
    loop = asyncio.get_running_loop()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return await median_of(count, lambda: loop.run_in_executor(pool, int))


async def threadsafe_wake(count):
    loop = asyncio.get_running_loop()
    asked = threading.Semaphore(0)
    woken = asyncio.Semaphore(0)
    ended = False

    def answer():
        while True:
            asked.acquire()
            if ended:
                return
            loop.call_soon_threadsafe(woken.release)

    async def once():
        asked.release()
        await woken.acquire()

    other = threading.Thread(target=answer)
    other.start()
    result = await median_of(count, once)
    ended = True
    asked.release()
    other.join()
    return result


ROWS = {
    "spawn_join": (spawn_join, 20_000),
    "yield": (yield_, 50_000),
    "nested_await": (nested_await, 500_000),
    "cancel_sleeper": (cancel_sleeper, 10_000),
    "timer_insert_cancel": (timer_insert_cancel, 50_000),
    "mutex": (mutex, 200_000),
    "channel64": (channel64, 100_000),
    "queue": (queue, 100_000),
    "gather_10": (gather_10, 2_000),
    "task_group_10": (task_group_10, 2_000),
    "generator_next": (generator_next, 500_000),
    "pool_roundtrip": (pool_roundtrip, 5_000),
    "threadsafe_wake": (threadsafe_wake, 5_000),
}


def main():
    for name in sys.argv[1:] or ROWS:
        function, count = ROWS[name]
        start = time.perf_counter_ns()
        median = asyncio.run(function(count))
        taken = (time.perf_counter_ns() - start) / count
        print(name, median if median is not None else taken, flush=True)


if __name__ == "__main__":
    main()
