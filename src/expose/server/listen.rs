//! Sockets that listen.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use tokio::net::TcpListener;

/// Listens on each of these addresses. An address that was just given up by another process can be taken at once
/// (`SO_REUSEADDR`).
///
/// # Errors
///
/// When one cannot be had; the text names it.
pub async fn listen(addresses: &[String]) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        let bound = bind(address).await;
        listeners.push(
            bound.map_err(|error| {
                io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
            })?,
        );
    }
    Ok(listeners)
}

/// `:9082` means all addresses, of both families where the machine has both.
async fn bind(address: &str) -> io::Result<TcpListener> {
    if let Some(port) = address.strip_prefix(':') {
        let port = port.parse::<u16>().map_err(|_| io::Error::other("the port is no number up to 65535"))?;
        return match TcpListener::bind(("::", port)).await {
            Ok(listener) => Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
            Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await,
        };
    }
    let resolved: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
    TcpListener::bind(&*resolved).await
}
