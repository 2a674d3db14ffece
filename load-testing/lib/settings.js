// What a run can be told through the environment, and the options that all tests share.

import exec from 'k6/execution';

// Where Shunt is; the default is the port of `make cluster`.
export const BASE_URL = (__ENV.BASE_URL || 'http://127.0.0.1:8000').replace(/\/+$/, '');

// The limit that is to be proved: `limiter.quota` of the nodes, 10/minute unless changed there.
export const QUOTA = number('QUOTA', 10);
export const WINDOW = number('WINDOW', 60); // seconds

// A whole number from 1 on, from the environment.
export function number(name, otherwise) {
  const value = Number(__ENV[name] || otherwise);
  if (!Number.isInteger(value) || value < 1) {
    throw new Error(`${name}: expected a whole number from 1, not ${__ENV[name]}`);
  }
  return value;
}

// For a limit that a test cannot judge: ends the run before anything is sent.
export function requireSetting(holds, message) {
  if (!holds) throw new Error(`${message}; QUOTA is ${QUOTA} and WINDOW ${WINDOW}`);
}

export const TREND_STATISTICS = ['min', 'med', 'p(95)', 'p(99)', 'max'];

// Options of every test; a test adds its scenarios and thresholds.
export const SHARED_OPTIONS = {
  // A redirect is an answer to look at. Its target is somebody else's site.
  maxRedirects: 0,
  userAgent: 'shunt-load-test',
  summaryTrendStats: TREND_STATISTICS,
  // A first request may have to wait for a window.
  setupTimeout: `${3 * WINDOW + 30}s`,
};

// k6 gives the n-th virtual user the n-th of its local addresses, and starts again at the first when there are no more.
// Stops the run unless each of `clients` users gets one of its own.
export function requireAddresses(clients) {
  if (clients > 1 && addressCount(exec.test.options.localIPs) < clients) {
    exec.test.abort(
      `${clients} clients need as many addresses: set K6_LOCAL_IPS (such as 127.9.9.0/24), or CLIENTS=1`,
    );
  }
}

// How many addresses k6 takes from a list of IPv4 addresses, ranges and networks. Any IPv6 network has enough for
// k6, but counts as one client per /64, so only its single addresses are counted.
function addressCount(list) {
  const count = (part) => {
    const [first, last] = part.split('-');
    const [, prefix] = part.split('/');
    if (part.includes(':')) return 1;
    // Without its first and last address, from /30 up.
    if (prefix) return Number(prefix) > 30 ? 2 ** (32 - prefix) : 2 ** (32 - prefix) - 2;
    return last ? toNumber(last) - toNumber(first) + 1 : 1;
  };
  return (list || '').split(',').filter(Boolean).reduce((sum, part) => sum + count(part.trim()), 0);
}

function toNumber(address) {
  return address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0);
}
