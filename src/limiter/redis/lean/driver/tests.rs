use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::future::{join_all, poll_immediate};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::{JoinHandle, yield_now},
    time::timeout,
};

use super::*;
use crate::limiter::redis::command::{
    Commands,
    Word::{Number, Text},
};

/// Longer than anything here takes, on any machine.
const LONG: Duration = Duration::from_secs(30);

/// Both ends of a connection. Not more than so many bytes are under way in it at once.
fn connected(bytes: usize) -> (Arc<Line>, DuplexStream, JoinHandle<()>) {
    let (socket, server) = duplex(bytes);
    let line = Arc::<Line>::default();
    let driver = tokio::spawn(Driver::new(socket, line.clone()));
    (line, server, driver)
}

/// Asks a question that is told apart by its number.
async fn ask(line: &Line, number: i64) -> RedisResult<String> {
    let answer = line.ask(|writer| writer.add(&[Text("GET"), Number(number)]));
    let answer = timeout(LONG, answer).await;
    let Answer { bytes, replies } = answer.expect("an answer or an error")?;
    assert_eq!(replies, 1);
    Ok(String::from_utf8(bytes.into()).expect("text"))
}

fn question(number: i64) -> String {
    let number = number.to_string();
    format!("*2\r\n$3\r\nGET\r\n${}\r\n{number}\r\n", number.len())
}

async fn expect(server: &mut DuplexStream, questions: impl Iterator<Item = i64>) {
    let expected: String = questions.map(question).collect();
    let mut received = vec![0; expected.len()];
    let read = timeout(LONG, server.read_exact(&mut received)).await;
    read.expect("the questions").expect("a connection");
    assert_eq!(String::from_utf8(received).expect("text"), expected);
}

async fn send(server: &mut DuplexStream, replies: &str) {
    let sent = timeout(LONG, server.write_all(replies.as_bytes())).await;
    sent.expect("room").expect("a connection");
}

fn is_lost(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
}

/// One byte at a time goes either way.
#[tokio::test]
async fn questions_and_answers_that_are_cut_everywhere_arrive_whole_and_in_order() {
    let (line, mut server, _driver) = connected(1);
    let replies = [
        "$-1\r\n",
        "*2\r\n:1\r\n*1\r\n$2\r\n\r\n\r\n",
        "-ERR what\r\n",
    ];
    let serve = async {
        expect(&mut server, 0..3).await;
        send(&mut server, &replies.concat()).await;
    };
    let asked = join_all((0..3).map(|number| ask(&line, number)));
    let (answers, ()) = tokio::join!(asked, serve);
    let answers: Vec<String> = answers.into_iter().map(|a| a.expect("an answer")).collect();
    assert_eq!(answers, replies);
}

/// A socket that counts how often it is written to.
struct Counted(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, room)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[tokio::test]
async fn what_is_asked_in_one_turn_is_one_write() {
    let (socket, mut server) = duplex(1 << 16);
    let writes = Arc::<AtomicUsize>::default();
    let line = Arc::<Line>::default();
    let driver = Driver::new(Counted(socket, writes.clone()), line.clone());
    tokio::spawn(driver);
    for round in 1..=3 {
        let serve = async {
            expect(&mut server, 0..100).await;
            send(&mut server, &":7\r\n".repeat(100)).await;
        };
        let asked = join_all((0..100).map(|number| ask(&line, number)));
        let (answers, ()) = tokio::join!(asked, serve);
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert_eq!(writes.load(Ordering::Relaxed), round);
    }
}

#[tokio::test]
async fn a_request_that_gives_up_does_not_shift_the_answers_of_others() {
    let (line, mut server, _driver) = connected(1 << 16);
    assert!(poll_immediate(ask(&line, 1)).await.is_none());
    let serve = async {
        expect(&mut server, 1..=2).await;
        send(&mut server, ":1\r\n:2\r\n").await;
    };
    let (answer, ()) = tokio::join!(ask(&line, 2), serve);
    assert_eq!(answer.expect("an answer"), ":2\r\n");
}

/// Ends the connection after the second of three questions is answered.
async fn ended_by(replies: &str, end: impl AsyncFnOnce(DuplexStream)) {
    let (line, mut server, driver) = connected(1 << 16);
    let serve = async {
        expect(&mut server, 0..3).await;
        send(&mut server, &format!(":0\r\n:1\r\n{replies}")).await;
        end(server).await;
    };
    let asked = join_all((0..3).map(|number| ask(&line, number)));
    let (answers, ()) = tokio::join!(asked, serve);
    let [first, second, third] = answers.try_into().expect("three");
    assert_eq!(first.expect("an answer"), ":0\r\n");
    assert_eq!(second.expect("an answer"), ":1\r\n");
    assert!(is_lost(&third.expect_err("no answer")), "{replies:?}");
    let later = ask(&line, 4).await.expect_err("no connection");
    assert!(is_lost(&later), "{replies:?}");
    let driver = timeout(LONG, driver).await.expect("the driver ends");
    driver.expect("no panic");
}

#[tokio::test]
async fn a_connection_that_ends_fails_every_question() {
    ended_by("", async |server| drop(server)).await;
    ended_by("$5\r\nhel", async |server| drop(server)).await;
}

#[tokio::test]
async fn what_is_no_reply_ends_the_connection() {
    // Redis keeps it open.
    let stays = async |mut server: DuplexStream| {
        let mut rest = Vec::new();
        let read = timeout(LONG, server.read_to_end(&mut rest)).await;
        read.expect("an end").expect("a connection");
    };
    for replies in [
        "HTTP/1.1 400 Bad Request\r\n",
        "$3\r\nhello\r\n",
        "$9999999\r\n",
    ] {
        ended_by(replies, stays).await;
    }
}

/// As when Redis allows no more connections.
#[tokio::test]
async fn a_reply_to_nothing_ends_the_connection() {
    for (reply, code) in [
        ("-ERR max number of clients reached\r\n", Some("ERR")),
        (":1\r\n", None),
    ] {
        let (line, mut server, driver) = connected(1 << 16);
        send(&mut server, reply).await;
        let driver = timeout(LONG, driver).await.expect("the driver ends");
        driver.expect("no panic");
        let error = ask(&line, 1).await.expect_err("no connection");
        assert_eq!(error.code(), code);
        assert_eq!(is_lost(&error), code.is_none());
    }
}

#[tokio::test]
async fn a_long_reply_is_read_and_an_endless_one_ends_the_connection() {
    let (line, mut server, _driver) = connected(1 << 16);
    let long = format!("$100000\r\n{}\r\n", "x".repeat(100_000));
    let serve = async {
        expect(&mut server, 1..=1).await;
        send(&mut server, &long).await;
    };
    let (answer, ()) = tokio::join!(ask(&line, 1), serve);
    assert_eq!(answer.expect("an answer"), long);
    let serve = async {
        expect(&mut server, 2..=2).await;
        let mut endless = server.write_all(b"*1000000\r\n").await;
        while endless.is_ok() {
            endless = server.write_all(long.as_bytes()).await;
        }
    };
    let (answer, ()) = tokio::join!(ask(&line, 2), serve);
    assert!(is_lost(&answer.expect_err("no answer")));
}

#[tokio::test]
async fn not_more_are_kept_waiting_than_memory_allows() {
    // Room for one question: the driver has to keep the others.
    let (line, _server, driver) = connected(64);
    for number in 0..MOST_AWAITED {
        let number = i64::try_from(number).expect("small");
        assert!(poll_immediate(ask(&line, number)).await.is_none());
    }
    assert!(poll_immediate(ask(&line, -1)).await.is_none(), "it waits");
    assert_eq!(line.state().awaited.len(), MOST_AWAITED);
    driver.abort();
    let _ = driver.await;
    assert!(is_lost(&ask(&line, -1).await.expect_err("no connection")));
}

#[tokio::test]
async fn not_more_is_kept_unsent_than_memory_allows() {
    let (line, _server, _driver) = connected(64);
    let half = "x".repeat(MOST_UNSENT / 2);
    for _ in 0..4 {
        let asked = line.ask(|writer| writer.add(&[Text("GET"), Text(&half)]));
        assert!(poll_immediate(asked).await.is_none());
    }
    let unsent = line.state().unsent.len();
    assert!(
        (MOST_UNSENT..MOST_UNSENT + 100).contains(&unsent),
        "{unsent}"
    );
}

/// As when Redis stands still, and goes on.
#[tokio::test]
async fn what_waited_for_the_socket_is_sent_once_it_takes_more() {
    let (line, mut server, _driver) = connected(64);
    let serve = async {
        expect(&mut server, 0..1_000).await;
        send(&mut server, &":7\r\n".repeat(1_000)).await;
    };
    let asked = join_all((0..1_000).map(|number| ask(&line, number)));
    let (answers, ()) = tokio::join!(asked, serve);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[tokio::test]
async fn a_driver_that_is_dropped_fails_every_question() {
    let (line, _server, driver) = connected(1 << 16);
    let end = async {
        yield_now().await;
        driver.abort();
    };
    let (answer, ()) = tokio::join!(ask(&line, 1), end);
    assert!(is_lost(&answer.expect_err("no answer")));
}
