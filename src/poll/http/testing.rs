//! A small server on loopback that answers as a test says: bytes as they are, so that they can
//! be as wrong as on any network.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, LocalSet, spawn_local};

/// Runs a test with a server in it.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, future)
}

/// What was asked: the first line without the version, and the headers in lower case.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `GET /path?query`
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Ends with the value.
pub struct Server {
    pub url: String,
    asked: Rc<RefCell<Vec<Asked>>>,
    accepting: AbortHandle,
}

impl Server {
    /// `answer` makes the bytes of the whole answer; the connection is closed after it. `None`
    /// keeps the connection open and silent.
    pub async fn start(answer: impl Fn(&Asked) -> Option<Vec<u8>> + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let asked = Rc::new(RefCell::new(Vec::new()));
        let (answer, seen) = (Rc::new(answer), Rc::clone(&asked));
        let accepting = spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, seen) = (Rc::clone(&answer), Rc::clone(&seen));
                spawn_local(serve(stream, answer, seen));
            }
        });
        Server {
            url,
            asked,
            accepting: accepting.abort_handle(),
        }
    }

    /// Answers every path that is known with a JSON body and 200, and others with 404.
    pub async fn of_pages(pages: Vec<(&'static str, String)>) -> Server {
        Server::start(move |asked| {
            let page = pages.iter().find(|(line, _)| *line == asked.line);
            Some(match page {
                Some((_, body)) => ok(body),
                None => answer("404 Not Found", &[], "{\"message\":\"nothing here\"}"),
            })
        })
        .await
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.borrow().clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

pub fn ok(body: &str) -> Vec<u8> {
    answer("200 OK", &[("content-type", "application/json")], body)
}

pub fn answer(status: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\nconnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    text.into_bytes()
}

async fn serve(
    mut stream: TcpStream,
    answer: Rc<impl Fn(&Asked) -> Option<Vec<u8>>>,
    seen: Rc<RefCell<Vec<Asked>>>,
) {
    let Some(asked) = read(&mut stream).await else {
        return;
    };
    seen.borrow_mut().push(asked.clone());
    match answer(&asked) {
        // The client may have gone away on purpose.
        Some(bytes) => drop(stream.write_all(&bytes).await),
        None => {
            let _ = stream.read(&mut [0]).await;
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut lines = text.lines();
    let line = lines.next()?.rsplit_once(' ')?.0.to_owned();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let mut asked = Asked {
        line,
        headers: headers.collect(),
        body: String::new(),
    };
    let length = asked
        .header("content-length")
        .and_then(|text| text.parse().ok());
    let whole = head + 4 + length.unwrap_or(0);
    while bytes.len() < whole {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    asked.body = String::from_utf8_lossy(&bytes[head + 4..whole]).into_owned();
    Some(asked)
}
