//! How a page is asked for.

use std::{future::poll_fn, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    client::conn::http1,
    header::{
        ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap,
        LOCATION, USER_AGENT,
    },
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};
use url::{Host, Url};

use super::{Network, html};
use crate::links::{TargetUrl, Title};

/// How long all of it may take: name resolution, redirects, the page.
const TIME: Duration = Duration::from_secs(5);

/// How long one address may take to answer. A host may have an address that does not answer, and another that does.
const CONNECT_TIME: Duration = Duration::from_secs(2);

/// How many addresses of a host are tried.
const ADDRESSES: usize = 3;

const REDIRECTS: usize = 3;

/// How much of a page is read, in bytes.
const PAGE: usize = 256 << 10;

/// The largest head of an answer, in bytes.
const HEAD: usize = 32 << 10;

/// How often an unfinished page is searched for its title.
const SEARCHES: usize = 16;

const AGENT: &str = concat!("Shunt/", env!("CARGO_PKG_VERSION"), " (+title)");

/// Fetches titles of pages.
pub struct Fetcher {
    network: Network,
    tls: TlsConnector,
    /// The host of this service.
    own_host: Option<String>,
    time: Duration,
}

/// Why a page was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It is, or leads, where the node does not connect to.
    #[error("the node does not connect to that address")]
    NotAllowed,
    /// It leads on and on.
    #[error("more than {REDIRECTS} redirects")]
    Redirects,
    /// It answers with this status.
    #[error("status {0}")]
    Status(u16),
    /// It is compressed, although that was not asked for.
    #[error("the page is compressed")]
    Compressed,
    /// It took too long.
    #[error("not within {0:?}")]
    TimedOut(Duration),
    /// A redirect leads to what is no URL.
    #[error("a redirect that leads nowhere")]
    Url(#[from] url::ParseError),
    /// No connection, or one that broke.
    #[error("no connection")]
    Connection(#[from] io::Error),
    /// Not HTTP, or too large a head.
    #[error("no answer in HTTP")]
    Http(#[from] hyper::Error),
}

/// What a request brought.
enum Answer {
    Title(Option<Title>),
    Redirect(Url),
}

impl Fetcher {
    /// Fetches from this network. `certificates` are those of authorities that are trusted.
    ///
    /// # Errors
    /// If this build of the program has no TLS.
    pub fn new(
        network: Network,
        certificates: RootCertStore,
    ) -> Result<Self, tokio_rustls::rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(certificates)
            .with_no_client_auth();
        Ok(Self {
            network,
            tls: Arc::new(tls).into(),
            own_host: None,
            time: TIME,
        })
    }

    /// Sends no request to this host, which is the service's own.
    #[must_use]
    pub fn except(mut self, own_host: Option<&str>) -> Self {
        self.own_host = own_host.map(str::to_ascii_lowercase);
        self
    }

    /// Takes no longer than this, and not 5 seconds.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// The title of the page that a link leads to; `None` if it is no page of HTML, or has no title.
    ///
    /// # Errors
    /// [`FetchError`]
    pub async fn fetch(&self, target: &TargetUrl) -> Result<Option<Title>, FetchError> {
        let fetched = timeout(self.time, self.follow(target.url().clone())).await;
        fetched.unwrap_or(Err(FetchError::TimedOut(self.time)))
    }

    async fn follow(&self, mut url: Url) -> Result<Option<Title>, FetchError> {
        for _ in 0..=REDIRECTS {
            match self.ask(&url).await? {
                Answer::Title(title) => return Ok(title),
                Answer::Redirect(to) => url = to,
            }
        }
        Err(FetchError::Redirects)
    }

    /// One request, on a connection of its own.
    async fn ask(&self, url: &Url) -> Result<Answer, FetchError> {
        let is_secure = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(FetchError::NotAllowed),
        };
        let host = url.host().ok_or(FetchError::NotAllowed)?;
        // A dot at the end names the same host.
        let name = url.host_str().map(|name| name.trim_end_matches('.'));
        if self.own_host.as_deref() == name {
            return Err(FetchError::NotAllowed);
        }
        let port = url.port_or_known_default().ok_or(FetchError::NotAllowed)?;
        let connection = self.connect(&host, port).await?;
        if !is_secure {
            return exchange(connection, url).await;
        }
        let name = match host {
            Host::Domain(name) => ServerName::try_from(name.to_owned())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?,
            Host::Ipv4(address) => ServerName::from(std::net::IpAddr::from(address)),
            Host::Ipv6(address) => ServerName::from(std::net::IpAddr::from(address)),
        };
        exchange(self.tls.connect(name, connection).await?, url).await
    }

    /// Connects to an address that was checked, and to no other: a name that is looked up a second time may lead
    /// elsewhere.
    async fn connect(&self, host: &Host<&str>, port: u16) -> Result<TcpStream, FetchError> {
        let mut addresses: Vec<SocketAddr> = match host {
            Host::Domain(name) => (self.network.resolve)((*name).to_owned(), port).await?,
            Host::Ipv4(address) => vec![(*address, port).into()],
            Host::Ipv6(address) => vec![(*address, port).into()],
        };
        let are_found = !addresses.is_empty();
        addresses.retain(|address| (self.network.may_connect)(*address));
        let mut failure = if are_found {
            FetchError::NotAllowed
        } else {
            io::Error::from(io::ErrorKind::NotFound).into()
        };
        for address in addresses.into_iter().take(ADDRESSES) {
            match timeout(CONNECT_TIME, TcpStream::connect(address)).await {
                Ok(Ok(connection)) if self.network.may_use(&connection)? => return Ok(connection),
                Ok(Ok(_)) => return Err(FetchError::NotAllowed),
                Ok(Err(error)) => failure = error.into(),
                Err(_) => failure = FetchError::TimedOut(CONNECT_TIME),
            }
        }
        Err(failure)
    }
}

/// Sends the request and reads the answer.
async fn exchange<C: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    connection: C,
    url: &Url,
) -> Result<Answer, FetchError> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD);
    let (mut sender, connection) = builder.handshake(TokioIo::new(connection)).await?;
    let exchange = pin!(async move {
        let response = sender.send_request(request(url)).await?;
        read(response, url).await
    });
    match select(exchange, pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        // What has arrived is still to be read. If the connection broke, the exchange tells.
        Either::Right((_, exchange)) => exchange.await,
    }
}

/// Asks for nothing that is compressed: a few bytes could become very many.
fn request(url: &Url) -> Request<String> {
    let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let mut request = Request::new(String::new());
    // Both are those of a URL, and so without spaces and control characters.
    if let Ok(path) = path.parse() {
        *request.uri_mut() = path;
    }
    let headers = request.headers_mut();
    let mut set = |name, value: &str| {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    };
    set(HOST, host);
    set(USER_AGENT, AGENT);
    set(ACCEPT, "text/html, application/xhtml+xml");
    set(ACCEPT_ENCODING, "identity");
    set(CONNECTION, "close");
    request
}

async fn read(response: Response<Incoming>, url: &Url) -> Result<Answer, FetchError> {
    let status = response.status();
    if let Some(location) = response.headers().get(LOCATION)
        && matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
    {
        // Some servers write other characters than ASCII.
        let location = String::from_utf8_lossy(location.as_bytes());
        return Ok(Answer::Redirect(url.join(&location)?));
    }
    if !status.is_success() {
        return Err(FetchError::Status(status.as_u16()));
    }
    let encoding = response.headers().get(CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(FetchError::Compressed);
    }
    let Some(charset) = html_charset(response.headers()) else {
        return Ok(Answer::Title(None));
    };
    let mut body = pin!(response.into_body());
    let (mut page, mut searches) = (Vec::new(), 0);
    while page.len() < PAGE {
        let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await else {
            break;
        };
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        let searched = page.len().saturating_sub("</title".len());
        let room = PAGE - page.len();
        page.extend_from_slice(&data[..data.len().min(room)]);
        // Most titles stand at the beginning. A page could pretend at every byte that its title ends there.
        if searches < SEARCHES && has_end(&page[searched..]) {
            searches += 1;
            if let Some(title) = html::title(&page, charset.as_deref()) {
                return Ok(Answer::Title(Some(title)));
            }
        }
    }
    Ok(Answer::Title(html::title(&page, charset.as_deref())))
}

fn has_end(page: &[u8]) -> bool {
    let mut windows = page.windows("</title".len());
    windows.any(|window| window.eq_ignore_ascii_case(b"</title"))
}

/// The `charset` of a page, if its content type names one; `None` if it is no page of HTML.
fn html_charset(headers: &HeaderMap) -> Option<Option<String>> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let mut parts = content_type.split(';').map(str::trim);
    let kind = parts.next()?;
    let is_html = ["text/html", "application/xhtml+xml"]
        .iter()
        .any(|html| html.eq_ignore_ascii_case(kind));
    let charset = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_charset = name.trim_end().eq_ignore_ascii_case("charset");
        is_charset.then(|| value.trim().trim_matches('"').to_owned())
    });
    is_html.then_some(charset)
}
