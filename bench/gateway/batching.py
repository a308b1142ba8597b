"""Pools that batch continuously: how long a step takes follows from what runs in it.

In: jobs and moments. Out: moments written into the jobs, and events through the world. Must
stay true: what joins or leaves does so between steps; memory and places taken are given back
exactly once. Where no running answer is streamed, equal steps are taken in one event.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect_right
from collections import OrderedDict, deque
from random import Random

from bench.gateway.jobs import SLOW_TAIL, Event, Job
from bench.gateway.pools import NEVER_NS, Conditions, Queue, Surroundings, strike
from bench.gateway.scenarios import Batch, Change, Pool


class PrefixCache:
    """Blocks of prompts read before; the longest unused go first."""

    def __init__(self, blocks: int, block_tokens: int):
        self._limit = blocks
        self._tokens = block_tokens
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def cached_tokens(self, job: Job) -> int:
        """Tokens at the start of the prompt that need not be read again; the last one always is."""
        known = 0
        for block in job.blocks:
            if block not in self._blocks:
                break
            known += 1
        return min(known * self._tokens, max(job.prompt_tokens - 1, 0))

    def remember(self, job: Job) -> None:
        """The prompt has been read. Its first block stays longest, since the others need it."""
        for block in reversed(job.blocks):
            self._blocks[block] = None
            self._blocks.move_to_end(block)
        while len(self._blocks) > self._limit:
            self._blocks.popitem(last=False)


class Engine:
    """One engine: the answers that it runs, step by step."""

    def __init__(self, pool: BatchPool, batch: Batch):
        self._pool = pool
        self._batch = batch
        self._world = pool.world
        self._cache: PrefixCache | None = None
        if batch.prefix_blocks:
            self._cache = PrefixCache(batch.prefix_blocks, batch.prefix_block)
        self._prefilling: deque[Job] = deque()
        #: answers being written: those with an event for each token, and all by their last step
        self._streams: dict[Job, None] = {}
        self._ends: list[tuple[int, int, Job]] = []
        self._order = itertools.count()
        self.running = self._decoding = self._kv_used = 0
        #: steps done; the stretch of equal steps that is under way, if any
        self._step = self._steps = 0
        self._from_ns = self._step_ns = 0
        self._stretch = 0
        #: (step, ns) of each step that was longer than all later ones: the first entry after a step
        #: is the longest since it
        self._longest: list[tuple[int, int]] = []

    def room(self, job: Job) -> bool:
        """True when the job could join at the next step."""
        if self.running >= self._batch.sequences:
            return False
        if self._batch.kv_tokens is None or not self.running:
            return True
        wanted = job.prompt_tokens + job.output_tokens
        return self._kv_used + wanted <= self._batch.kv_tokens

    def wake(self, now_ns: int) -> None:
        """A waiting job has room, or a running one has left: look at the next step's edge."""
        if not self._steps:
            self._begin(now_ns)
        elif self._steps > 1:
            # an edge at exactly this moment is past, as it would be if steps were taken singly
            done = (now_ns - self._from_ns) // self._step_ns + 1
            if done < self._steps:
                self._run(self._from_ns, done)

    def leave(self, job: Job, now_ns: int) -> None:
        """A running job is no longer wanted."""
        if job.first_ns >= 0:
            if job.fault != "stall":
                self._progress_until(job, now_ns - job.distance_ns)
            self._decoding -= 1
            self._streams.pop(job, None)
        else:
            self._prefilling.remove(job)
        self._give_back(job)
        self.wake(now_ns)

    def _progress_until(self, job: Job, now_ns: int) -> None:
        """Write into a job that is cut off the tokens it had, the last one's moment and the longest
        gap.
        """
        if self._steps > 1:
            since = max(0, (now_ns - self._from_ns) // self._step_ns)
        else:
            since = 0
        job.emitted = max(job.emitted, self._step + since - job.first_step + 1)
        job.last_ns = self._from_ns + since * self._step_ns + job.distance_ns
        job.gap_max_ns = self._longest_since(job.first_step, self._step_ns if since else -1)

    def _longest_since(self, step: int, at_least_ns: int = -1) -> int:
        """The longest of the steps after `step`; -1 where there was none."""
        place = bisect_right(self._longest, (step, NEVER_NS))
        if place == len(self._longest):
            return at_least_ns
        return max(at_least_ns, self._longest[place][1])

    def _give_back(self, job: Job) -> None:
        job.held = False
        self.running -= 1
        self._kv_used -= job.prompt_tokens + job.output_tokens

    def _join(self, job: Job, now_ns: int) -> None:
        job.start_ns = now_ns
        job.held = True
        self.running += 1
        self._kv_used += job.prompt_tokens + job.output_tokens
        if self._cache is not None:
            job.cached_tokens = self._cache.cached_tokens(job)
        else:
            job.cached_tokens = 0
        job.prefill_left = max(1, job.prompt_tokens - job.cached_tokens)
        self._prefilling.append(job)
        job.place = self
        self._pool.started(job, now_ns)

    def _begin(self, now_ns: int) -> None:
        """At the edge of a step: let waiting jobs in, and plan the next steps."""
        while (waiting := self._pool.queue.head()) is not None and self.room(waiting):
            self._pool.queue.pop()
            self._join(waiting, now_ns)
        batch = self._batch
        reading, steps = 0, 1
        for job in self._prefilling:
            piece = min(job.prefill_left, batch.prefill_chunk - reading)
            job.prefill_left -= piece
            reading += piece
            if reading == batch.prefill_chunk:
                break
        if not reading:
            while self._ends and not self._ends[0][2].held:
                heapq.heappop(self._ends)
            if not self._ends:
                # nothing runs, or only what has stalled
                self._steps = 0
                return
            if not self._streams:
                steps = self._ends[0][0] - self._step
        slowdown = self._pool.conditions.at(now_ns).slowdown
        busy_ns = (
            batch.step + batch.per_sequence * self._decoding + batch.prefill_per_token * reading
        )
        if slowdown != 1.0:
            self._step_ns = int(busy_ns * slowdown)
        else:
            self._step_ns = busy_ns
        self._run(now_ns, steps)

    def _run(self, from_ns: int, steps: int) -> None:
        self._from_ns = from_ns
        self._steps = steps
        self._stretch += 1
        self._world.push(from_ns + steps * self._step_ns, self._edge, self._stretch)

    def _edge(self, due_ns: int, stretch: int) -> None:
        """The steps under way are done: send tokens, end what is finished, begin the next steps."""
        if stretch != self._stretch:
            return
        # a job that arrives during these events must find one step under way: it joins below
        self._step = self._step + self._steps
        self._steps = 1
        while self._longest and self._longest[-1][1] <= self._step_ns:
            self._longest.pop()
        self._longest.append((self._step, self._step_ns))
        while self._ends and self._ends[0][0] <= self._step:
            job = heapq.heappop(self._ends)[2]
            if job.held:
                self._last_step(job, due_ns)
        for job in list(self._streams):
            self._pool.token(job, self._step - job.first_step, due_ns)
        while self._prefilling and not self._prefilling[0].prefill_left:
            self._first_token(self._prefilling.popleft(), due_ns)
        self._begin(due_ns)

    def _first_token(self, job: Job, due_ns: int) -> None:
        if self._cache is not None:
            self._cache.remember(job)
        job.first_ns = due_ns + job.distance_ns
        job.first_step = self._step
        self._decoding += 1
        if job.cut_short:
            last = job.fault_at
        else:
            last = job.output_tokens - 1
        if last == 0:
            self._last_step(job, due_ns)
            return
        heapq.heappush(self._ends, (self._step + last, next(self._order), job))
        if job.stream:
            self._streams[job] = None
            self._pool.token(job, 0, due_ns)

    def _last_step(self, job: Job, due_ns: int) -> None:
        self._streams.pop(job, None)
        job.gap_max_ns = self._longest_since(job.first_step)
        if job.cut_short and job.fault_at > 0:
            job.last_ns = due_ns - self._step_ns + job.distance_ns
        if job.fault != "stall":
            self._decoding -= 1
            self._give_back(job)
        self._pool.finished(job, due_ns)


class BatchPool:
    """Engines behind one queue."""

    def __init__(
        self,
        pool: Pool,
        changes: list[Change],
        seed: str,
        world: Surroundings,
    ):
        assert pool.batch is not None
        self.file = pool
        self.conditions = Conditions(pool, changes)
        self.world = world
        self._fault_rng = Random(f"{seed}/{pool.name}/faults")
        self.queue = Queue(pool.queue_limit)
        self._kv_tokens = pool.batch.kv_tokens or NEVER_NS
        self._engines = [Engine(self, pool.batch) for _ in range(pool.batch.engines)]

    def submit(self, job: Job, now_ns: int) -> None:
        """A job arrives: it waits for the edge of a step, or fails."""
        refused = strike(job, self.conditions.at(now_ns), self._fault_rng)
        if not refused and (
            job.prompt_tokens + job.output_tokens > self._kv_tokens or not self.queue.put(job)
        ):
            job.strike("http_503")
            refused = True
        if refused:
            self._send(job, Event.FAULT, now_ns)
            return
        if len(self._engines) > 1:
            engine = min(self._engines, key=_running)
        else:
            engine = self._engines[0]
        head = self.queue.head()
        if head is not None and engine.room(head):
            engine.wake(now_ns)

    def cancel(self, job: Job, now_ns: int) -> None:
        """The job, still unfinished, is no longer wanted."""
        self.queue.give_up(job)
        if job.held:
            job.place.leave(job, now_ns)

    def started(self, job: Job, now_ns: int) -> None:
        """An engine has let the job in."""
        if job.stream:
            self._send(job, Event.START, now_ns)

    def token(self, job: Job, index: int, now_ns: int) -> None:
        """A token of a streamed job; `finished` sends the last one."""
        if index == job.fault_at and job.fault == "garbage":
            self._send(job, Event.FAULT, now_ns)
        if index + 1 < job.output_tokens:
            self._send(job, Event.TOKEN, now_ns)

    def finished(self, job: Job, now_ns: int) -> None:
        """The job has had its last step."""
        if job.stream:
            self.token(job, job.output_tokens - 1, now_ns)
        if job.fault == "slow_tail":
            more_ns = (SLOW_TAIL - 1) * (now_ns + job.distance_ns - job.first_ns)
            job.gap_max_ns = max(job.gap_max_ns, more_ns)
            now_ns += more_ns
        self._send(job, Event.FAULT if job.cut_short else Event.LAST, now_ns)

    def _send(self, job: Job, event: Event, now_ns: int) -> None:
        """Notify the owner when the event has come all the way to the client."""
        due_ns = now_ns + job.distance_ns
        if job.distance_ns or job.fault == "slow_tail":
            self.world.push(due_ns, self._deliver, (job, event))
        else:
            self._deliver(due_ns, (job, event))

    def _deliver(self, due_ns: int, sent: tuple[Job, Event]) -> None:
        job, event = sent
        if not job.live:
            return
        if event is Event.TOKEN:
            job.emitted += 1
        elif event is Event.LAST:
            job.emitted = job.output_tokens
            job.last_ns = due_ns
            job.live = False
        elif event is Event.FAULT:
            job.emitted = max(job.emitted, job.fault_at)
            job.live = job.fault in ("stall", "garbage")
        self.world.notify(job, event, due_ns)


def _running(engine: Engine) -> int:
    return engine.running
