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
    let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok()).and_then(|range| {
        let range = range.trim().strip_prefix("bytes=")?;
        Some(wanted(range, length))
    });
    let (status, range) = match asked {
        None => (StatusCode::OK, 0..length),
        Some(Some(range)) => (StatusCode::PARTIAL_CONTENT, range),
        Some(None) => {
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

/// What is wanted by one range of RFC 9110 §14.1.2; `None` when nothing of it is there. Of several ranges, or of what is
/// not understood, everything (§14.2: "A server MAY ignore the Range header field").
fn wanted(range: &str, length: u64) -> Option<Range<u64>> {
    let Some((first, last)) = range.split_once('-').filter(|_| !range.contains(',')) else {
        return Some(0..length);
    };
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), _) if first >= length => None,
        (Ok(first), Ok(last)) if last < first => Some(0..length),
        (Ok(first), Ok(last)) => Some(first..length.min(last.saturating_add(1))),
        (Ok(first), Err(_)) if last.is_empty() => Some(first..length),
        (Err(_), Ok(0)) => None,
        (Err(_), Ok(last)) if first.is_empty() && length > 0 => Some(length.saturating_sub(last)..length),
        (_, _) => Some(0..length),
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
        for (range, expected) in [
            ("0-", Some(0..100)),
            ("10-19", Some(10..20)),
            ("10-1000", Some(10..100)),
            ("99-99", Some(99..100)),
            ("100-", None),
            ("-10", Some(90..100)),
            ("-1000", Some(0..100)),
            ("-0", None),
            ("19-10", Some(0..100)),
            ("0-1,5-6", Some(0..100)),
            ("a-b", Some(0..100)),
            ("-", Some(0..100)),
            ("", Some(0..100)),
        ] {
            assert_eq!(wanted(range, 100), expected, "{range}");
        }
        assert_eq!(wanted("0-", 0), None);
    }
}
