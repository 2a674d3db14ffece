//! What the benchmarks compare with: a web server that answers with one redirect and does nothing else.
//!
//! `bare WORKERS LOCATION` listens on a free port of 127.0.0.1 and prints which.

use std::io::{Error, ErrorKind};

use actix_web::{
    App, HttpResponse, HttpServer,
    http::header,
    web::{self, Data},
};
use mimalloc::MiMalloc;

/// The allocator of the program, so that only the work differs.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> std::io::Result<()> {
    actix_web::rt::System::new().block_on(serve())
}

async fn serve() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(workers), Some(location)) = (arguments.next(), arguments.next()) else {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "usage: bare WORKERS LOCATION",
        ));
    };
    let workers = workers
        .parse()
        .map_err(|error| Error::new(ErrorKind::InvalidInput, error))?;
    let location = Data::new(location);
    let app = move || {
        App::new()
            .app_data(location.clone())
            .route("/{code}", web::get().to(redirect))
    };
    let server = HttpServer::new(app)
        .workers(workers)
        .bind(("127.0.0.1", 0))?;
    for address in server.addrs() {
        println!("listening on http://{address}");
    }
    server.run().await
}

async fn redirect(location: Data<String>) -> HttpResponse {
    HttpResponse::Found()
        .insert_header((header::LOCATION, location.as_str()))
        .finish()
}
