// Tests judge.js on answers of simulated instances, right and wrong; with node, which is faster than k6. scripts/roles-check
// does so. Latencies, and the order in which an instance gets to see requests, are random; the numbers are the same in each run.

import { judge } from './judge.js';

const CLOCK_ERROR = 5;

// Numbers from 0 to 1 (mulberry32).
function random(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// Users who send again and again, as in rate-limit.js, `pause` milliseconds after each answer.
function load({ users, ramp, pause, duration, latency }, next) {
  const requests = [];
  for (let user = 0; user < users; user++) {
    let sent = (user * ramp) / users + next() * 10;
    while (sent < duration) {
      // Now and then somebody has to wait.
      const took = latency * (0.2 + next()) * (next() < 0.01 ? 20 : 1);
      requests.push({ sent: Math.floor(sent), received: Math.ceil(sent + took), at: sent + took * next() });
      sent += took + pause;
    }
  }
  return requests.sort((a, b) => a.at - b.at);
}

// An instance: what it does with requests in the order that it sees them. `counts`: whether it counts a refused one.
const instance = ({ quota, window, nodes = 1, counts = true }) => (requests, next) => {
  const logs = Array.from({ length: nodes }, () => []);
  for (const request of requests) {
    const log = logs[Math.floor(next() * nodes)];
    while (log.length && log[0] <= request.at - window) log.shift();
    request.admitted = log.length < quota;
    if (request.admitted || counts) log.push(request.at);
  }
};

// Counts from 0 again with every window of the clock.
const fixedWindow = ({ quota, window }) => (requests) => {
  const counts = {};
  for (const request of requests) {
    const number = Math.floor((request.at + window / 3) / window);
    counts[number] = (counts[number] || 0) + 1;
    request.admitted = counts[number] <= quota;
  }
};

const broken = (limits, share) => (requests, next) => {
  instance(limits)(requests, next);
  for (const request of requests) if (request.admitted && next() < share) request.admitted = false;
};

const LIMITS = [[10, 60], [10, 10], [50, 10], [5, 10], [1, 2], [1, 1], [100, 5], [9, 60], [300, 60], [2, 3600]];

function failures() {
  const found = [];
  let decided = 0;
  for (const [quota, seconds] of LIMITS) {
    const window = seconds * 1000;
    const users = Math.max(20, Math.ceil((2 * quota) / Math.min(seconds, 60)));
    for (const latency of [1, 20, 150]) {
      const verdict = (run, seed) => {
        const next = random(seed);
        const requests = load({ users, ramp: Math.min(30000, window / 2), pause: 1000, duration: 100000, latency }, next);
        run(requests, next);
        const admitted = requests.filter((request) => request.admitted).length;
        return { admitted, ...judge(requests, { quota, window, clockError: CLOCK_ERROR }) };
      };
      const expect = (what, ok, result) => {
        if (!ok) found.push(`${quota}/${seconds}s, ${latency} ms: ${what}: ${JSON.stringify(result)}`);
      };

      for (let seed = 1; seed <= 3; seed++) {
        const right = verdict(instance({ quota, window }), seed);
        expect('right, and found wrong', right.tooMany === 0 && right.tooFew === 0, right);
        expect('right, and not within its bounds', right.least <= right.admitted && right.admitted <= right.most, right);
        expect('not decided', right.certainlyRefused > 200, right);
        if (right.least === right.most) decided++;
      }
      const wrong = {
        'one too many': instance({ quota: quota + 1, window }),
        'each node by itself': instance({ quota, window, nodes: 2 }),
        'everything': instance({ quota: Infinity, window }),
        'refused ones do not count': instance({ quota, window, counts: false }),
        'fixed windows': fixedWindow({ quota, window }),
      };
      for (const [name, run] of Object.entries(wrong)) {
        // In 100 seconds there is no second window of an hour.
        if (seconds > 60 && !/one too many|each node|everything/.test(name)) continue;
        const result = verdict(run, 7);
        expect(`${name}, and not noticed`, result.tooMany > 0, result);
      }
      const fewer = {
        'nothing': instance({ quota: 0, window }),
        'one too few': instance({ quota: quota - 1, window }),
        'half of them': broken({ quota, window }, 0.5),
      };
      for (const [name, run] of Object.entries(fewer)) {
        if (name === 'half of them' && quota < 9) continue;
        const result = verdict(run, 7);
        expect(`${name}, and not noticed`, result.tooFew > 0, result);
      }
    }
  }
  if (decided < LIMITS.length) found.push(`only ${decided} of ${LIMITS.length * 9} sums were certain`);
  return found;
}

const found = failures();
found.forEach((line) => console.error(line));
console.log(`judge: ${found.length} failures`);
if (found.length > 0) process.exit(1);
