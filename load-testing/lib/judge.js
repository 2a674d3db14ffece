// What answers prove about a limit of so many requests in any window, seen from the outside.
//
// The rule: a request is admitted if, and only if, it and the requests of the last window before it, refused ones
// included, number at most the quota. When the service saw a request nobody here knows, but it was between sending it and
// having its answer. From these intervals follow two bounds on how many of a set B of requests were admitted, if B fits
// into one window, from a (the first was sent) to b (the last was answered):
//
//   - the k-th of B counts the k − 1 before it, and at most all others that may be in the window before any of B: so at
//     least quota − others were admitted, or all of B;
//   - and it counts at least those others that are certainly before all of B and in the windows of all of B: so at most
//     quota − others were.
//
// An instance that is right keeps within them for every B, whatever the network and its own threads do. One that breaks
// them is wrong: there is no order of the requests in which its answers would be right.
//
// Imports nothing of k6, for judge.test.js.

// judge(requests, { quota, window, clockError }): requests are { sent, received, admitted }, times in milliseconds; window
// too. clockError is what the clocks of client and service may differ by over a window, in milliseconds.
//
// Returns { least, most, tooMany, tooFew, certainlyRefused }: how many may have been admitted in all; the number of
// requests at which more, or fewer, were admitted than the bounds allow; and how many must have been refused: where there
// are few, the load was not such that it would show much.
export function judge(requests, { quota, window, clockError }) {
  const seen = requests
    .map(({ sent, received, admitted }) => ({ from: sent - clockError, to: received + clockError, admitted }))
    .sort((a, b) => a.from - b.from);
  const from = seen.map((request) => request.from);
  const to = seen.map((request) => request.to).sort((a, b) => a - b);

  // The end of the first n requests, and how many of them were admitted.
  const end = [];
  const admitted = [0];
  for (const request of seen) {
    end.push(Math.max(request.to, end.length ? end[end.length - 1] : -Infinity));
    admitted.push(admitted[admitted.length - 1] + (request.admitted ? 1 : 0));
  }

  // Bounds on how many of seen[first..last] were admitted, if all is between a and b.
  const bounds = (first, last, a, b) => {
    const size = last - first + 1;
    const possible = upTo(from, b) - upTo(to, a - window) - size;
    const certain = Math.max(0, upTo(to, a) - upTo(from, b - window));
    return { least: clamp(quota - possible, size), most: clamp(quota - certain, size) };
  };

  const single = seen.map((request, n) => bounds(n, n, request.from, request.to));
  const certainlyAdmitted = sums(single.map(({ least }) => least));
  const certainlyRefused = sums(single.map(({ most }) => 1 - most));

  // For each request, the last one of the largest set that begins with it.
  const lastWithin = [];
  let tooMany = 0;
  let tooFew = 0;
  for (let first = 0, last = 0; first < seen.length; first++) {
    last = Math.max(last, first);
    while (last + 1 < seen.length && end[last + 1] - from[first] < window) last++;
    lastWithin.push(last);
    let more = false;
    let fewer = false;
    // The request alone, ever larger sets, and the largest.
    for (let size = 1, done = false; !done; size *= 2) {
      done = first + size > last;
      const to = done ? last : first + size - 1;
      const { least, most } = boundsOf(first, to);
      const count = admitted[to + 1] - admitted[first];
      more = more || count > most;
      fewer = fewer || count < least;
    }
    if (more) tooMany++;
    if (fewer) tooFew++;
  }

  // In all: the sum of one window after another, in each of which those count for themselves whose answer is certain.
  let least = 0;
  let most = 0;
  for (let first = 0; first < seen.length; first = lastWithin[first] + 1) {
    const last = lastWithin[first];
    const set = boundsOf(first, last);
    least += Math.max(set.least, certainlyAdmitted[last + 1] - certainlyAdmitted[first]);
    most += Math.min(set.most, last - first + 1 - (certainlyRefused[last + 1] - certainlyRefused[first]));
  }
  return { least, most, tooMany, tooFew, certainlyRefused: certainlyRefused[seen.length] };

  // One request may take as long as it likes; a larger set fits into a window.
  function boundsOf(first, last) {
    return first === last ? single[first] : bounds(first, last, from[first], end[last]);
  }
}

// How many of the sorted numbers are at most this one.
function upTo(sorted, number) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= number) low = middle + 1;
    else high = middle;
  }
  return low;
}

function clamp(number, size) {
  return Math.max(0, Math.min(size, number));
}

function sums(numbers) {
  const result = [0];
  for (const number of numbers) result.push(result[result.length - 1] + number);
  return result;
}
