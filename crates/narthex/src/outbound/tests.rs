use std::time::Duration;

use narthex_core::outbound::{Outbound as _, OutboundError, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::GuardedClient;

/// A server on loopback that answers every request with these bytes; its port.
async fn server(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4_096];
                let read = stream.read(&mut buffer).await.unwrap_or(0);
                assert!(read > 0);
                stream.write_all(answer.as_bytes()).await.ok();
                if answer.is_empty() {
                    tokio::time::sleep(Duration::from_mins(1)).await;
                }
            });
        }
    });
    port
}

fn request(url: String) -> Request {
    Request { for_development: true, most: 100, timeout: Duration::from_secs(5), ..Request::form(url, "a=b".into()) }
}

fn refused(error: &OutboundError) -> bool {
    matches!(error, OutboundError::Refused(_))
}

#[tokio::test]
async fn mistake_12_this_machine_is_called_for_development_on_a_developers_machine_only() {
    let port = server("HTTP/1.1 204 No Content\r\n\r\n").await;
    let url = format!("http://127.0.0.1:{port}/hook");
    let answer = GuardedClient::new(true).send(request(url.clone())).await.expect("an answer");
    assert!(answer.is_success());
    assert!(GuardedClient::new(true).send(request(format!("http://localhost:{port}/"))).await.is_ok());
    for (is_local, for_development) in [(true, false), (false, true), (false, false)] {
        for url in [
            &url,
            &format!("https://127.0.0.1:{port}/"),
            &format!("https://localhost:{port}/"),
            &format!("https://[::1]:{port}/"),
        ] {
            let request = Request { for_development, ..request(url.clone()) };
            let error = GuardedClient::new(is_local).send(request).await.expect_err("refused");
            assert!(refused(&error), "{is_local} {for_development} {url}: {error:?}");
        }
    }
}

#[tokio::test]
async fn mistake_12_urls_that_hide_where_they_lead_are_refused() {
    let port = server("HTTP/1.1 204 No Content\r\n\r\n").await;
    let client = GuardedClient::new(true);
    for url in [
        format!("http://app.example@127.0.0.1:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://127.1:{port}/"),
        format!("http://0.0.0.0:{port}/"),
        format!("http://169.254.169.254:{port}/latest/meta-data"),
        format!("ftp://127.0.0.1:{port}/"),
        "/relative".to_owned(),
        String::new(),
    ] {
        let error = client.send(request(url.clone())).await.expect_err("refused");
        assert!(
            refused(&error) || matches!(&error, OutboundError::Failed(text) if text.contains("resolved")),
            "{url}: {error:?}"
        );
    }
}

#[tokio::test]
async fn mistake_12_redirects_are_not_followed_and_answers_have_bounds() {
    let client = GuardedClient::new(true);
    let port = server("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
    let answer = client.send(request(format!("http://127.0.0.1:{port}/"))).await.expect("an answer");
    assert_eq!(answer.status, 302);

    let port = server("HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n").await;
    let long = client.send(request(format!("http://127.0.0.1:{port}/"))).await;
    assert!(matches!(long, Err(OutboundError::Failed(_))), "longer than it may be: {long:?}");

    let port = server("").await;
    let patient = Request { timeout: Duration::from_millis(200), ..request(format!("http://127.0.0.1:{port}/")) };
    let slow = client.send(patient).await;
    assert_eq!(slow.err(), Some(OutboundError::Failed("the answer took too long".into())));

    let port = server("nonsense\r\n\r\n").await;
    assert!(client.send(request(format!("http://127.0.0.1:{port}/"))).await.is_err());
}
