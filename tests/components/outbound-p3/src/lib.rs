//! Tries to reach something over WASI 0.3, as the path says: `/?url=U` fetches U, `/give-up?url=U`
//! leaves in the middle of a request to it, `/tcp?to=A` connects to the address A, `/udp?to=A` sends a
//! datagram to it, `/names?name=N` looks up N. A response comes as a line of its status and its body;
//! any other success as `ok` and what there is to tell; a failure as 502 and the error.

use std::net::SocketAddr;

use guest_support::Target;
use wasip3::{
    exports::http::handler::Guest,
    http::{
        client,
        types::{ErrorCode, Fields, Method, Request, Response, Scheme},
    },
    sockets::{
        ip_name_lookup,
        types::{
            IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
            TcpSocket, UdpSocket,
        },
    },
    wit_bindgen::{self as wasip3_bindgen, StreamReader},
    wit_future, wit_stream,
};

struct Outbound;

wasip3::http::service::export!(Outbound);

impl Guest for Outbound {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = Target::parse(&request.get_path_with_query().unwrap_or_default());
        let text = |name: &str| target.text(name).unwrap_or_default();
        let told = match target.path() {
            "/tcp" => connect(text("to")).await,
            "/udp" => send_datagram(text("to")).await,
            "/names" => look_up(text("name")).await,
            "/give-up" => give_up(text("url")).await.map_err(|error| format!("{error:?}")),
            _ => fetch(text("url")).await.map_err(|error| format!("{error:?}")),
        };
        match told {
            Ok(told) => respond(200, format!("{told}\n")),
            Err(error) => respond(502, format!("{error}\n")),
        }
    }
}

async fn fetch(url: &str) -> Result<String, ErrorCode> {
    let response = client::send(request(url, None)?).await?;
    let status = response.get_status_code();
    let (_, read) = wit_future::new(|| Ok(()));
    let (body, end) = Response::consume_body(response, read);
    let body = body.collect().await;
    end.await?;
    Ok(format!("{status}\n{}", String::from_utf8_lossy(&body)))
}

/// Sends a part of a body, and leaves before it is whole.
async fn give_up(url: &str) -> Result<String, ErrorCode> {
    let (mut writer, body) = wit_stream::new();
    let request = request(url, Some(body))?;
    wasip3_bindgen::spawn_local(async move {
        drop(writer.write_all(b"a part".to_vec()).await);
        // Closed, the body would be whole.
        std::mem::forget(writer);
    });
    drop(client::send(request).await?);
    Err(ErrorCode::InternalError(Some("given up".to_owned())))
}

fn request(url: &str, body: Option<StreamReader<u8>>) -> Result<Request, ErrorCode> {
    let invalid = || ErrorCode::HttpRequestUriInvalid;
    let (scheme, rest) = url.split_once("://").ok_or_else(invalid)?;
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let path_at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(path_at).ok_or_else(invalid)?;
    let (_, trailers) = wit_future::new(|| Ok(None));
    let method = if body.is_some() { Method::Post } else { Method::Get };
    let (request, _sent) = Request::new(Fields::new(), body, trailers, None);
    request.set_method(&method).map_err(|()| invalid())?;
    request.set_scheme(Some(&scheme)).map_err(|()| invalid())?;
    let refused = || ErrorCode::InternalError(Some("the authority is refused".to_owned()));
    request.set_authority(Some(authority)).map_err(|()| refused())?;
    let path = if path.is_empty() { "/" } else { path };
    request.set_path_with_query(Some(path)).map_err(|()| invalid())?;
    Ok(request)
}

async fn connect(to: &str) -> Result<String, String> {
    let (family, address) = address(to)?;
    let socket = TcpSocket::create(family).map_err(|error| format!("{error:?}"))?;
    socket.connect(address).await.map_err(|error| format!("{error:?}"))?;
    Ok(format!("ok {to}"))
}

async fn send_datagram(to: &str) -> Result<String, String> {
    let (family, address) = address(to)?;
    let socket = UdpSocket::create(family).map_err(|error| format!("{error:?}"))?;
    let sent = socket.send(b"hello".to_vec(), Some(address)).await;
    sent.map_err(|error| format!("{error:?}"))?;
    Ok(format!("ok {to}"))
}

async fn look_up(name: &str) -> Result<String, String> {
    let addresses = ip_name_lookup::resolve_addresses(name.to_owned()).await;
    let addresses = addresses.map_err(|error| format!("{error:?}"))?;
    let text = |address: &IpAddress| match *address {
        IpAddress::Ipv4((a, b, c, d)) => std::net::Ipv4Addr::new(a, b, c, d).to_string(),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => {
            std::net::Ipv6Addr::new(a, b, c, d, e, f, g, h).to_string()
        }
    };
    let mut addresses: Vec<_> = addresses.iter().map(text).collect();
    addresses.dedup();
    Ok(format!("ok {}", addresses.join(" ")))
}

fn address(text: &str) -> Result<(IpAddressFamily, IpSocketAddress), String> {
    Ok(match text.parse().map_err(|error| format!("{text}: {error}"))? {
        SocketAddr::V4(v4) => {
            let [a, b, c, d] = v4.ip().octets();
            let address = Ipv4SocketAddress { port: v4.port(), address: (a, b, c, d) };
            (IpAddressFamily::Ipv4, IpSocketAddress::Ipv4(address))
        }
        SocketAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.ip().segments();
            let address = Ipv6SocketAddress {
                port: v6.port(),
                flow_info: 0,
                address: (a, b, c, d, e, f, g, h),
                scope_id: 0,
            };
            (IpAddressFamily::Ipv6, IpSocketAddress::Ipv6(address))
        }
    })
}

/// A response whose body is written after `handle` has returned.
fn respond(status: u16, text: String) -> Result<Response, ErrorCode> {
    let (mut writer, body) = wit_stream::new();
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(body), trailers);
    response.set_status_code(status).map_err(|()| ErrorCode::InternalError(None))?;
    wasip3_bindgen::spawn_local(async move {
        // What the client did not read comes back; there is nothing to do about it.
        drop(writer.write_all(text.into_bytes()).await);
    });
    Ok(response)
}
