//! Recordings.

use crate::{
    app::App,
    failure::Failure,
    params::{Element, Params},
};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use control_api_types::{Code, Page, Recording, RecordingFormat};
use engine_runtime::RecordingQuery;
use std::{io::SeekFrom, ops::Range};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
};

/// Read from the file at a time.
const PIECE: usize = 64 * 1024;

pub(crate) async fn list(State(app): State<App>, uri: Uri) -> Result<Json<Page<Recording>>, Failure> {
    let mut params = Params::of(&uri);
    let query = RecordingQuery {
        call: params.parse("call_id"),
        cursor: params.text("cursor").map(str::to_owned),
        limit: params.limit(),
    };
    Ok(Json(app.engine.recordings(params.finish(query)?).await?))
}

pub(crate) async fn show(State(app): State<App>, Element(id): Element) -> Result<Json<Recording>, Failure> {
    find(&app, &id).await.map(Json)
}

async fn find(app: &App, id: &str) -> Result<Recording, Failure> {
    app.engine.recording(id).await?.ok_or_else(|| Failure::not_found("recording", id))
}

pub(crate) async fn delete(State(app): State<App>, Element(id): Element) -> Result<StatusCode, Failure> {
    let found = app.engine.delete_recording(&id).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Failure::not_found("recording", &id)) }
}

pub(crate) async fn audio(
    State(app): State<App>,
    Element(id): Element,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let recording = find(&app, &id).await?;
    let gone = || Failure::new(Code::NotFound, format!("recording {id} has no file"));
    let path = app.engine.recording_file(&recording)?.ok_or_else(gone)?;
    // Somebody may have taken it away.
    let mut file = File::open(path).await.map_err(|_| gone())?;
    let length = file.metadata().await.map_err(|error| Failure::internal(&error))?.len();
    let kind = match recording.format {
        RecordingFormat::Wav => "audio/wav",
        RecordingFormat::Ogg => "audio/ogg",
    };
    let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let (status, range) = match asked.map_or(Wanted::All, |asked| wanted(asked, length)) {
        Wanted::All => (StatusCode::OK, 0..length),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Wanted::Nothing => {
            let told = [(header::CONTENT_RANGE, format!("bytes */{length}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, told).into_response());
        }
    };
    if range.start > 0 {
        file.seek(SeekFrom::Start(range.start)).await.map_err(|error| Failure::internal(&error))?;
    }
    let part = range.end - range.start;
    let mut response = Response::new(body(file, part));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(part));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == StatusCode::PARTIAL_CONTENT {
        let told = format!("bytes {}-{}/{length}", range.start, range.end - 1);
        if let Ok(told) = HeaderValue::from_str(&told) {
            headers.insert(header::CONTENT_RANGE, told);
        }
    }
    Ok(response)
}

/// What a Range field wants of a file.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    /// At least one octet.
    Part(Range<u64>),
    /// Nothing that is there.
    Nothing,
}

/// What is wanted by one range of octets (RFC 9110 §14.1.2). Of several ranges, or by what is not understood, everything
/// (§14.2: "A server MAY ignore the Range header field").
fn wanted(field: &str, length: u64) -> Wanted {
    let range = field.trim().strip_prefix("bytes=").filter(|range| !range.contains(','));
    let Some((first, last)) = range.and_then(|range| range.split_once('-')) else { return Wanted::All };
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if last < first => Wanted::All,
        (Ok(_), Err(_)) if !last.is_empty() => Wanted::All,
        (Ok(first), _) if first >= length => Wanted::Nothing,
        (Ok(first), Ok(last)) => Wanted::Part(first..length.min(last.saturating_add(1))),
        (Ok(first), Err(_)) => Wanted::Part(first..length),
        (Err(_), Ok(last)) if first.is_empty() => match last.min(length) {
            0 => Wanted::Nothing,
            last => Wanted::Part(length - last..length),
        },
        (Err(_), _) => Wanted::All,
    }
}

/// So much of a file, piece by piece, as fast as it is taken.
fn body(file: File, length: u64) -> Body {
    let pieces = futures_util::stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok::<_, std::io::Error>(None);
        }
        let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
        let read = file.read(&mut piece).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        piece.truncate(read);
        Ok(Some((Bytes::from(piece), (file, left - read as u64))))
    });
    Body::from_stream(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_what_is_there() {
        let part = Wanted::Part;
        for (field, expected) in [
            ("bytes=0-", part(0..100)),
            ("bytes=10-19", part(10..20)),
            (" bytes=10-1000", part(10..100)),
            ("bytes=99-99", part(99..100)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=100-200", Wanted::Nothing),
            ("bytes=-10", part(90..100)),
            ("bytes=-1000", part(0..100)),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=19-10", Wanted::All),
            ("bytes=0-1,5-6", Wanted::All),
            ("bytes=a-b", Wanted::All),
            ("bytes=5-b", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=", Wanted::All),
            ("pages=1-2", Wanted::All),
        ] {
            assert_eq!(wanted(field, 100), expected, "{field}");
        }
        for field in ["bytes=0-", "bytes=-5", "bytes=-0", "bytes=0-0"] {
            assert_eq!(wanted(field, 0), Wanted::Nothing, "{field}");
        }
    }
}
