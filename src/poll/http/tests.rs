use std::cell::Cell;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::testing::{Server, answer, block_on, ok};
use super::*;
use crate::poll::token::Token;

const SECRET: &str = "hush-hush";

fn secret() -> Secret {
    Secret::from(SECRET.to_owned())
}

/// An answer of the server, read with a token.
fn read(bytes: Vec<u8>) -> Result<Reply, SourceError> {
    block_on(async {
        let server = Server::start(move |_| Some(bytes.clone())).await;
        let url = format!("{}/path?access_token={SECRET}", server.url);
        let secret = secret();
        let ask = Ask {
            auth: Auth::Bearer(&secret),
            ..Ask::get(&url)
        };
        Http::new().send(ask).await
    })
}

fn error(bytes: Vec<u8>) -> SourceError {
    let error = read(bytes).expect_err("an error");
    assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
    error
}

#[test]
fn a_good_answer_is_read_whole() {
    let body = "x".repeat(3_000_000);
    let reply = read(ok(&body)).expect("an answer");
    assert_eq!((reply.status, reply.body.len()), (200, body.len()));
    assert_eq!(reply.hints, crate::poll::plan::Hints::default());
}

#[test]
fn each_status_is_an_error_of_its_kind() {
    let status = |status: &str, headers: &[(&str, &str)]| {
        let body = format!("{{\"message\":\"no\\n good\",\n\"token\":\"{SECRET}\"}}");
        error(answer(status, headers, &body))
    };
    let wait = |seconds| Some(Duration::from_secs(seconds));
    let in_ten = [
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT"),
    ];
    let used_up = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "7")];
    let limited = [
        ("429 Too Many Requests", &[][..], None),
        ("429 Too Many Requests", &[("retry-after", "30")], wait(30)),
        ("429 Too Many Requests", &in_ten, wait(10)),
        ("403 Forbidden", &used_up, wait(7)),
        ("403 Forbidden", &[("retry-after", "60")], wait(60)),
    ];
    for (line, headers, expected) in limited {
        let told = status(line, headers);
        assert_eq!(told, SourceError::Limited(expected), "{line}");
        assert_eq!(told.hints().not_before, expected);
    }
    let words = ": {\"message\":\"no\\n good\", \"token\":\"<secret>\"}";
    let denied = status("401 Unauthorized", &[]);
    assert!(
        matches!(&denied, SourceError::Denied(text) if text.ends_with(words)),
        "{denied}"
    );
    assert!(matches!(
        status("403 Forbidden", &[]),
        SourceError::Denied(_)
    ));
    assert!(matches!(
        status("404 Not Found", &[]),
        SourceError::Missing(_)
    ));
    let failed = status("500 Internal Server Error", &[]);
    assert!(
        matches!(&failed, SourceError::Status(text) if text.ends_with(words)),
        "{failed}"
    );
    let busy = status("503 Service Unavailable", &[("retry-after", "5")]);
    assert!(matches!(&busy, SourceError::Busy(..)));
    assert_eq!(busy.hints().not_before, wait(5));
    assert!(matches!(
        status("304 Not Modified", &[]),
        SourceError::Status(_)
    ));
}

#[test]
fn a_token_that_the_server_sends_back_is_not_shown_in_halves_either() {
    let body = format!("{}{SECRET}", "x".repeat(SHOWN - 4));
    let said = error(answer("500 Internal Server Error", &[], &body)).to_string();
    assert!(said.ends_with("xxx<sec..."), "{said}");
}

#[test]
fn half_an_answer_is_none() {
    let mut bytes = ok("{\"unclaimed_task_count\": 12345}");
    bytes.truncate(bytes.len() - 3);
    assert!(matches!(error(bytes), SourceError::Unreachable(_)));
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n[1, 2\r\n";
    assert!(matches!(error(chunked.into()), SourceError::Unreachable(_)));
    assert!(matches!(
        error(b"SSH-2.0-OpenSSH\r\n".into()),
        SourceError::Unreachable(_)
    ));
    assert!(matches!(error(Vec::new()), SourceError::Unreachable(_)));
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let body = "x".repeat(LIMITS.body + 1);
    let told = error(ok(&body));
    assert!(matches!(&told, SourceError::Unreadable(_)), "{told}");
    assert!(
        told.to_string()
            .ends_with("the answer is longer than 16777216 bytes")
    );
    assert_eq!(
        read(ok(&body[1..])).expect("just fits").body.len(),
        LIMITS.body
    );
}

#[test]
fn nobody_is_waited_for_for_ever() {
    block_on(async {
        let limits = Limits {
            request: Duration::from_millis(50),
            ..LIMITS
        };
        let http = Http::with(limits, None, false);
        let silent = Server::start(|_| None).await;
        let told = http.send(Ask::get(&silent.url)).await.expect_err("late");
        let url = &silent.url;
        let expected = format!("GET {url}/: no answer within 50ms");
        assert_eq!(told, SourceError::Unreachable(expected));
        // Good words, and then no more.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("its address"));
        let slow = tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.expect("asked");
            stream.read_u8().await.expect("asked");
            let start = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[1, ";
            stream.write_all(start).await.expect("written");
            std::future::pending::<()>().await;
        });
        let told = http.send(Ask::get(&url)).await.expect_err("late");
        let expected = format!("GET {url}: no answer within 50ms");
        assert_eq!(told, SourceError::Unreachable(expected));
        slow.abort();
    });
}

#[test]
fn nobody_listens_is_told_with_the_cause() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("its address"));
    drop(listener);
    let told = block_on(async { Http::new().send(Ask::get(&url)).await });
    let told = told.expect_err("nobody answers").to_string();
    assert!(told.contains("onnection refused"), "{told}");
}

#[test]
fn a_redirection_to_another_server_does_not_get_the_token() {
    block_on(async {
        let thief = Server::start(|_| Some(ok("{}"))).await;
        let to = format!("{}/login?x=1", thief.url);
        let shown = format!("{}/login", thief.url);
        let server = Server::start(move |_| Some(answer("302 Found", &[("location", &to)], "")));
        let server = server.await;
        let secret = secret();
        for auth in [
            Auth::Bearer(&secret),
            Auth::Header("Circle-Token", &secret),
            Auth::None,
        ] {
            let ask = Ask {
                auth,
                ..Ask::get(&server.url)
            };
            let told = Http::new().send(ask).await.expect_err("not followed");
            assert!(matches!(&told, SourceError::Status(_)));
            assert!(told.to_string().contains(&shown), "{told}");
        }
        assert_eq!(thief.lines(), Vec::<String>::new());
    });
}

#[test]
fn a_redirection_on_the_same_server_is_followed_but_not_for_ever() {
    block_on(async {
        let server = Server::start(|asked| {
            Some(match asked.line.as_str() {
                "GET /old" => answer("308 Permanent Redirect", &[("location", "/new")], ""),
                "GET /new" => ok("[]"),
                _ => answer("302 Found", &[("location", "/loop")], ""),
            })
        })
        .await;
        let secret = secret();
        let old = format!("{}/old", server.url);
        let ask = Ask {
            auth: Auth::Header("Private-Token", &secret),
            ..Ask::get(&old)
        };
        let reply = Http::new().send(ask).await.expect("followed");
        assert_eq!(&reply.body[..], b"[]");
        let asked = server.asked();
        assert_eq!(asked[1].line, "GET /new");
        assert_eq!(asked[1].header("private-token"), Some(SECRET));
        let loops = format!("{}/loop", server.url);
        let told = Http::new().send(Ask::get(&loops)).await;
        assert!(matches!(told, Err(SourceError::Status(_))), "{told:?}");
        assert!(server.lines().len() < 10);
    });
}

#[test]
fn each_way_of_saying_who_asks_is_sent_as_the_vendor_wants_it() {
    block_on(async {
        let server = Server::start(|_| Some(ok("{}"))).await;
        let secret = secret();
        let table = [
            (Auth::None, "authorization", None),
            (
                Auth::Bearer(&secret),
                "authorization",
                Some("Bearer hush-hush"),
            ),
            (
                Auth::Token(&secret),
                "authorization",
                Some("Token hush-hush"),
            ),
            (
                Auth::Header("Circle-Token", &secret),
                "circle-token",
                Some(SECRET),
            ),
            (
                Auth::Basic("me", &secret),
                "authorization",
                Some("Basic bWU6aHVzaC1odXNo"),
            ),
        ];
        for (auth, header, expected) in table {
            let ask = Ask {
                auth,
                headers: &[("accept", "application/json")],
                ..Ask::get(&server.url)
            };
            assert!(!format!("{ask:?}").contains(SECRET));
            Http::new().send(ask).await.expect("an answer");
            let asked = server.asked().pop().expect("asked");
            assert_eq!(asked.header(header), expected);
            assert_eq!(asked.header("accept"), Some("application/json"));
            assert!(
                asked
                    .header("user-agent")
                    .is_some_and(|name| name.starts_with("clockout/"))
            );
        }
    });
}

#[test]
fn a_token_never_leaves_the_machine_in_the_clear_unless_allowed() {
    block_on(async {
        let secret = secret();
        let ask = Ask {
            auth: Auth::Bearer(&secret),
            ..Ask::get("http://192.0.2.1/")
        };
        let told = Http::new().send(ask).await.expect_err("refused");
        assert!(matches!(&told, SourceError::Denied(text) if text.contains("allow_http")));
        let unsendable = Secret::from("two\nlines".to_owned());
        let server = Server::start(|_| Some(ok("{}"))).await;
        let ask = Ask {
            auth: Auth::Bearer(&unsendable),
            ..Ask::get(&server.url)
        };
        let told = Http::new().send(ask).await.expect_err("refused");
        assert!(
            matches!(&told, SourceError::Denied(text) if !text.contains("lines")),
            "{told}"
        );
    });
}

#[test]
fn an_unchanged_answer_needs_no_body() {
    block_on(async {
        let server = Server::start(|asked| {
            Some(match asked.header("if-none-match") {
                Some("\"7\"") => answer("304 Not Modified", &[("etag", "\"7\"")], ""),
                _ => answer("200 OK", &[("etag", "\"7\"")], "[1]"),
            })
        })
        .await;
        let http = Http::new();
        let first = http.send(Ask::get(&server.url)).await.expect("an answer");
        let ask = Ask {
            etag: etag(&first),
            ..Ask::get(&server.url)
        };
        let second = http.send(ask).await.expect("an answer");
        assert_eq!((first.status, second.status), (200, 304));
    });
}

#[test]
fn the_next_page_is_on_the_same_server_or_an_error() {
    let page = |link: &str| {
        let reply = read(answer("200 OK", &[("link", link)], "[]")).expect("an answer");
        reply.next_link()
    };
    let next = page("</list?page=2>; rel=\"next\"")
        .expect("here")
        .expect("a page");
    assert!(next.ends_with("/list?page=2"), "{next}");
    assert_eq!(page("</list?page=1>; rel=\"prev\""), Ok(None));
    let told = page("<https://elsewhere.example/?page=2>; rel=\"next\"").expect_err("refused");
    assert!(matches!(told, SourceError::Unreadable(_)), "{told}");
}

#[test]
fn a_site_says_where_the_token_is_that_was_not_good_enough_and_takes_the_new_one() {
    block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("token");
        std::fs::write(&path, "old\n").expect("written");
        let server = Server::start(|asked| {
            Some(match asked.header("authorization") {
                Some("Token new") => ok("{}"),
                _ => answer("401 Unauthorized", &[], ""),
            })
        })
        .await;
        let token = Token::new(Some(&path), None);
        let base = format!("{}/", server.url);
        let site = Site::new(&Http::new(), &base, Scheme::Token, token, false);
        let told = site
            .get("/metrics", &[])
            .await
            .expect_err("refused")
            .to_string();
        let place = format!("(the token is from file {})", path.display());
        assert!(told.ends_with(&place), "{told}");
        std::fs::write(&path, "new\n").expect("written");
        site.get("/metrics", &[("a", "b/c")]).await.expect("let in");
        assert_eq!(server.lines(), ["GET /metrics", "GET /metrics?a=b%2Fc"]);
        std::fs::remove_file(&path).expect("removed");
        assert!(matches!(
            site.get("/metrics", &[]).await,
            Err(SourceError::Denied(_))
        ));
        assert_eq!(server.lines().len(), 2);
    });
}

#[test]
fn connections_are_used_again() {
    block_on(async {
        let connections = Rc::new(Cell::new(0));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("its address"));
        let seen = Rc::clone(&connections);
        let server = tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.set(seen.get() + 1);
                let service = hyper::service::service_fn(|_| async {
                    Ok::<_, std::convert::Infallible>(hyper::Response::new(String::from("{}")))
                });
                let stream = hyper_util::rt::TokioIo::new(stream);
                let serving = hyper::server::conn::http1::Builder::new();
                tokio::task::spawn_local(serving.serve_connection(stream, service));
            }
        });
        let http = Http::new();
        for _ in 0..5 {
            http.send(Ask::get(&url)).await.expect("an answer");
        }
        server.abort();
        assert_eq!(connections.get(), 1);
    });
}

/// A real TLS server, ended with the value.
struct TlsServer {
    child: Child,
    url: String,
    ca: Vec<u8>,
    _dir: tempfile::TempDir,
}

impl TlsServer {
    /// With a certificate of its own authority for `localhost`.
    fn start() -> TlsServer {
        let dir = tempfile::tempdir().expect("a directory");
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ])
            .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(dir.path())
            .output()
            .expect("openssl is there");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let page = "HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\n[42]";
        std::fs::write(dir.path().join("page"), page).expect("written");
        let mut child = Command::new("openssl")
            .args(["s_server", "-HTTP", "-accept", "127.0.0.1:0"])
            .args(["-cert", "cert.pem", "-key", "key.pem"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is there");
        let stdout = child.stdout.take().expect("piped");
        // "ACCEPT 127.0.0.1:40123"
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stdout));
        let port = lines.find_map(|line| {
            let line = line.ok()?;
            line.strip_prefix("ACCEPT ")?
                .rsplit_once(':')
                .map(|(_, port)| port.to_owned())
        });
        // Kept open: it prints each request.
        std::thread::spawn(move || lines.for_each(drop));
        TlsServer {
            url: format!("https://localhost:{}/page", port.expect("it listens")),
            ca: std::fs::read(dir.path().join("cert.pem")).expect("written"),
            child,
            _dir: dir,
        }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn https_is_spoken_with_whom_the_roots_vouch_for_and_with_nobody_else() {
    let server = TlsServer::start();
    let ca = Certificate::from_pem(&server.ca).expect("a certificate");
    block_on(async {
        let trusting = Http::with(LIMITS, Some(vec![ca.clone()]), false);
        let reply = trusting.send(Ask::get(&server.url)).await.expect("trusted");
        assert_eq!(&reply.body[..], b"[42]");
        let told = Http::new()
            .send(Ask::get(&server.url))
            .await
            .expect_err("not trusted");
        assert!(told.to_string().contains("certificate"), "{told}");
        let other_name = server.url.replace("localhost", "127.0.0.1");
        let told = trusting
            .send(Ask::get(&other_name))
            .await
            .expect_err("another name");
        assert!(told.to_string().contains("certificate"), "{told}");
    });
}
