//! Which of a client's bytes reach the parser, and when.
//!
//! actix-http parses whatever it is given. It goes on reading while an answer is being made or cannot be sent. A client
//! that sends thousands of small requests at once, or never reads, would have thousands of parsed requests wait for
//! their turn, at more than a kilobyte each. actix-http also takes the body of a later request for that of the one it
//! answers, and closes the connection. So the socket hands out one portion at a time, with one head in it. It hands out
//! none while a request is being answered, unless that request waits for its body. The rest waits in the kernel, whose
//! buffers are bounded and whose protocol slows the client down.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Waker},
};

/// No portion is longer, in bytes. Chunks of a single byte are small, but their bookkeeping is not.
const LONGEST: usize = 8 * 1024;

/// Whose turn it is on a connection.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Turn {
    /// The client's: a request may come.
    #[default]
    Client,
    /// The service's: it answers a request.
    Service,
    /// Both: the request that is being answered waits for its body. The length in bytes is known unless the body is
    /// chunked.
    Body(Option<usize>),
}

/// Whether the socket hands out bytes. The connection and the requests on it hold one each, of the same state.
#[derive(Clone, Default)]
pub(in crate::http) struct Intake(Rc<State>);

#[derive(Default)]
struct State {
    turn: Cell<Turn>,
    /// The connection's task, if the socket has bytes that the task was not given.
    held_back: RefCell<Option<Waker>>,
}

impl Intake {
    /// The request is being answered for as long as the returned guard lives.
    pub(in crate::http) fn serve(&self) -> Serving {
        self.0.turn.set(Turn::Service);
        Serving(self.clone())
    }

    /// The request that is being answered waits for its body for as long as the returned guard lives. `length` is in
    /// bytes, if the request says it.
    pub(in crate::http) fn take_body(&self, length: Option<usize>) -> TakingBody {
        self.0.turn.set(Turn::Body(length));
        self.resume();
        TakingBody(self.clone())
    }

    /// Whether the socket hands out nothing now.
    pub(super) fn is_closed(&self) -> bool {
        self.0.turn.get() == Turn::Service
    }

    /// The length of the body that a request waits for; `None` if none does, or the length is not known.
    pub(super) fn body(&self) -> Option<usize> {
        match self.0.turn.get() {
            Turn::Body(length) => length,
            Turn::Client | Turn::Service => None,
        }
    }

    /// There are bytes; the task is woken when the socket may hand them out.
    pub(super) fn hold_back(&self, context: &Context<'_>) {
        *self.0.held_back.borrow_mut() = Some(context.waker().clone());
    }

    /// Wakes the task if bytes were held back and may be handed out now.
    pub(super) fn resume(&self) {
        if !self.is_closed()
            && let Some(task) = self.0.held_back.borrow_mut().take()
        {
            task.wake();
        }
    }
}

/// A request that is being answered.
pub(in crate::http) struct Serving(Intake);

impl Drop for Serving {
    /// Wakes no task: the connection's task writes the answer next, and then looks for bytes.
    fn drop(&mut self) {
        self.0.0.turn.set(Turn::Client);
    }
}

/// A request whose body is being read.
pub(in crate::http) struct TakingBody(Intake);

impl Drop for TakingBody {
    fn drop(&mut self) {
        self.0.0.turn.set(Turn::Service);
    }
}

/// How many of the bytes that were read the parser gets before it has to deal with them: one head, and what follows it
/// up to the next head.
pub(super) struct Portion {
    bytes: usize,
    has_head: bool,
    /// How many bytes followed the last head.
    of_body: usize,
    /// Since the last line feed, nothing has come but a carriage return.
    at_line_start: bool,
    complete: bool,
}

impl Default for Portion {
    fn default() -> Self {
        Self {
            bytes: 0,
            has_head: false,
            of_body: 0,
            at_line_start: true,
            complete: false,
        }
    }
}

impl Portion {
    /// How many of the bytes belong to this portion. `body` is the length of the body that a request waits for, if
    /// known.
    pub(super) fn take(&mut self, bytes: &[u8], body: Option<usize>) -> usize {
        let bytes = &bytes[..bytes.len().min(LONGEST - self.bytes)];
        let taken = match body {
            Some(length) => {
                let taken = bytes.len().min(length.saturating_sub(self.of_body));
                self.of_body += taken;
                self.complete = taken < bytes.len();
                taken
            }
            None if !self.has_head && is_one_head(bytes) => {
                self.has_head = true;
                self.of_body = 0;
                self.at_line_start = true;
                bytes.len()
            }
            None => self.take_head(bytes),
        };
        self.bytes += taken;
        self.complete |= self.bytes >= LONGEST;
        taken
    }

    /// A head ends with an empty line. The parser also accepts line feeds without carriage returns. Empty lines
    /// elsewhere do no harm.
    fn take_head(&mut self, bytes: &[u8]) -> usize {
        let (mut line_start, mut head_end) = (0, 0);
        for line_feed in memchr::memchr_iter(b'\n', bytes) {
            let line = &bytes[line_start..line_feed];
            let is_empty = self.at_line_start && matches!(line, [] | [b'\r']);
            self.at_line_start = true;
            line_start = line_feed + 1;
            if is_empty {
                if self.has_head {
                    self.complete = true;
                    return head_end;
                }
                self.has_head = true;
                self.of_body = 0;
                head_end = line_start;
            }
        }
        if !matches!(&bytes[line_start..], [] | [b'\r']) {
            self.at_line_start = false;
        }
        if self.has_head {
            self.of_body += bytes.len() - head_end;
        }
        bytes.len()
    }

    /// Whether the whole of a body of `length` bytes is handed out.
    pub(super) fn has_body(&self, length: usize) -> bool {
        self.of_body >= length
    }

    /// Whether the parser has to deal with this portion before it gets more.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// The next portion begins where this one ended.
    pub(super) fn begin_next(&mut self) {
        *self = Self {
            at_line_start: self.at_line_start,
            of_body: self.of_body,
            ..Self::default()
        };
    }
}

/// Whether these bytes are a head, or the rest of one, and nothing else, as in nearly every read. The loop has no
/// branches, so the compiler makes it compare many bytes at a time: a fraction of the time that looking for lines
/// takes.
fn is_one_head(bytes: &[u8]) -> bool {
    if !bytes.ends_with(b"\n\r\n") || matches!(bytes[0], b'\r' | b'\n') {
        return false;
    }
    let (first, second, third) = (&bytes[..bytes.len() - 1], &bytes[1..], &bytes[2..]);
    let before_the_end = third.len() - 1;
    let three = first.iter().zip(second).zip(&third[..before_the_end]);
    let empty_lines = three.fold(false, |found, ((&first, &second), &third)| {
        found | ((first == b'\n') & ((second == b'\n') | ((second == b'\r') & (third == b'\n'))))
    });
    !empty_lines
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Portion, is_one_head};

    /// The portions that a client's bytes are handed out in, if they are read `at_once` bytes at a time.
    fn portions(bytes: &[u8], at_once: usize, body: Option<usize>) -> Vec<String> {
        let mut portions = vec![String::new()];
        let mut portion = Portion::default();
        for mut read in bytes.chunks(at_once) {
            while !read.is_empty() {
                let taken = portion.take(read, body);
                let last = portions.last_mut().expect("one");
                last.push_str(std::str::from_utf8(&read[..taken]).expect("ASCII"));
                read = &read[taken..];
                if portion.is_complete() {
                    portion.begin_next();
                    portions.push(String::new());
                }
            }
        }
        portions.retain(|portion| !portion.is_empty());
        portions
    }

    #[test]
    fn no_portion_has_two_heads_however_the_bytes_arrive() {
        for line_end in ["\r\n", "\n"] {
            let request = ["GET / HTTP/1.1", "Host: a", "", ""].join(line_end);
            let requests = request.repeat(100);
            for at_once in [1, 2, 3, 7, 100, requests.len()] {
                let portions = portions(requests.as_bytes(), at_once, None);
                assert_eq!(portions.concat(), requests);
                for portion in &portions {
                    let empty = ["", ""].join(&line_end.repeat(2));
                    assert!(portion.matches(&empty).count() <= 1, "{portion:?}");
                }
            }
        }
    }

    #[test]
    fn a_single_request_is_one_portion_whatever_its_headers_and_body() {
        let headers: String = (0..90).map(|n| format!("x-{n}: some value\r\n")).collect();
        for body in ["", "url=https%3A%2F%2Fexample.com%2F", "{\n\"url\": 5\n}\n"] {
            let request = format!("POST / HTTP/1.1\r\n{headers}\r\n{body}");
            for at_once in [1, 100, request.len()] {
                let portions = portions(request.as_bytes(), at_once, None);
                assert_eq!(portions, [request.as_str()]);
            }
        }
    }

    #[test]
    fn one_head_is_told_from_more() {
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], true),
            (b"ost: a\r\n\r\n", true),
            (b"a\n\r\n", true),
            (b"a\n\n\r\n", false),
            (b"GET / HTTP/1.1\n\nGET / HTTP/1.1\r\n\r\n", false),
            (b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", false),
            (b"GET / HTTP/1.1\n\r\nGET / HTTP/1.1\r\n\r\n", false),
            (b"\r\nGET / HTTP/1.1\r\n\r\n", false),
            (b"\n\r\n", false),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody", false),
            (b"GET / HTTP/1.1\r\n", false),
            (b"\n", false),
            (b"", false),
        ] {
            assert_eq!(is_one_head(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn of_a_body_whose_length_is_known_nothing_is_left_and_nothing_taken_beyond() {
        let mut portion = Portion::default();
        let head = b"POST / HTTP/1.1\r\n\r\nbody";
        assert_eq!(portion.take(head, None), head.len());
        portion.begin_next();
        let rest = b"\r\n\r\nbodyGET / HTTP/1.1\r\n\r\n";
        assert_eq!(portion.take(rest, Some(12)), 8);
        assert!(portion.is_complete());
        portion.begin_next();
        assert_eq!(portion.take(&rest[8..], None), rest.len() - 8);
    }

    #[test]
    fn no_portion_is_longer_than_its_bound() {
        let body = "1\r\na\r\n".repeat(10_000);
        for at_once in [1, 5000, body.len()] {
            for length in [None, Some(body.len())] {
                let portions = portions(body.as_bytes(), at_once, length);
                assert_eq!(portions.concat(), body);
                assert!(portions.iter().all(|portion| portion.len() <= LONGEST));
            }
        }
    }
}
