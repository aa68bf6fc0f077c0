//! Tools: those of the program and those that were uploaded. An admin uploads; whoever may call may look.

use axum::Json as Answer;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use sandglass_runtime::{NewTool, TOOL_BYTES_MAX, ToolInfo, ToolWords};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Json, Path, Query, read};
use super::problem::{Failure, Kind};
use super::{Service, types, view};
use crate::auth::Caller;

const WASM: &str = "application/wasm";

/// List the tools.
///
/// Those of the program first, then the uploaded ones by name; each with all that a model is told of its functions.
#[utoipa::path(get, path = "/v1/tools", tag = "tools", responses((status = 200, body = types::Page<types::Tool>)))]
pub(crate) async fn list(State(service): State<Service>) -> Result<Answer<types::Page<types::Tool>>, Failure> {
    let items = service.look(|host| Ok(host.tools().into_iter().map(shown).collect())).await?;
    Ok(Answer(types::Page { items, next_cursor: None }))
}

/// Look at a tool.
#[utoipa::path(get, path = "/v1/tools/{name}", tag = "tools",
    params(("name" = String, Path, description = "Its name.")), responses((status = 200, body = types::Tool)))]
pub(crate) async fn get(
    State(service): State<Service>,
    Path(name): Path<String>,
) -> Result<Answer<types::Tool>, Failure> {
    service.look(move |host| host.tool(&name).map(shown)).await.map(Answer)
}

/// How to upload.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadQuery {
    /// What the tool is good for: models read it.
    #[param(max_length = 4096)]
    description: Option<String>,
    /// Replace imports that no tool is given, such as sockets, by stubs: using one ends the call.
    #[serde(default)]
    stub_imports: bool,
}

/// Upload a tool.
///
/// The body is a WebAssembly component (WASI preview 2) or a program of preview 1, up to 64 MiB. It is compiled before the
/// answer, which takes some seconds for large ones. Each function that it exports can be called as `{name}.{function}` or
/// `{name}.{interface}.{function}`, its only one also as `{name}`; a program as `{name}`. One that had the name is replaced:
/// calls that come later use the new one. Descriptions of functions stay with those that the new one has too. Sending the same
/// upload again changes nothing.
#[utoipa::path(put, path = "/v1/tools/{name}", tag = "tools",
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    params(("name" = String, Path, description = "Its name: small letters, digits, hyphens, underscores."), UploadQuery),
    responses((status = 200, description = "It replaces one.", body = types::Tool),
        (status = 201, description = "It is new.", body = types::Tool)))]
pub(crate) async fn put(
    State(service): State<Service>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    expect_wasm(&parts.headers)?;
    let place = service.uploads.place(&parts.headers).await?;
    let wasm = read(body, TOOL_BYTES_MAX).await?;
    let (bytes, actor) = (wasm.len(), caller.name().to_owned());
    let new = NewTool { name, wasm, description: query.description, stub_imports: query.stub_imports };
    let (info, is_new) = service
        .change(move |host| {
            // Held for as long as the bytes are.
            let _place = place;
            host.add_tool(new, &actor)
        })
        .await?;
    let tool = shown(info);
    tracing::info!(tool = tool.name, bytes, is_new, actor = caller.name(), "tool uploaded");
    let location = HeaderValue::try_from(format!("/v1/tools/{}", tool.name)).map_err(Failure::internal)?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(LOCATION, location)], Answer(tool)).into_response())
}

/// Describe a tool.
///
/// Says what it is good for and what its functions do: models read it. What is left out stays as it is, null takes a
/// description away. A description has up to 4,096 bytes, those of all functions of a tool together up to 131,072.
#[utoipa::path(patch, path = "/v1/tools/{name}", tag = "tools",
    params(("name" = String, Path, description = "Its name.")), request_body = types::ToolWords,
    responses((status = 200, body = types::Tool)))]
pub(crate) async fn describe(
    State(service): State<Service>,
    caller: Caller,
    Path(name): Path<String>,
    Json(words): Json<types::ToolWords>,
) -> Result<Answer<types::Tool>, Failure> {
    let words = ToolWords {
        description: words.description.map(Option::unwrap_or_default),
        functions: words.functions.into_iter().map(|(name, text)| (name, text.unwrap_or_default())).collect(),
    };
    let tool = service.change(move |host| host.describe_tool(&name, words)).await.map(shown)?;
    tracing::info!(tool = tool.name, actor = caller.name(), "tool described");
    Ok(Answer(tool))
}

/// Remove a tool.
///
/// Calls of it that run go on; their records stay, with the hash of what ran.
#[utoipa::path(delete, path = "/v1/tools/{name}", tag = "tools",
    params(("name" = String, Path, description = "Its name.")),
    responses((status = 204, description = "It is gone.")))]
pub(crate) async fn remove(
    State(service): State<Service>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    let named = name.clone();
    service.change(move |host| host.remove_tool(&named)).await?;
    tracing::info!(tool = name, actor = caller.name(), "tool removed");
    Ok(StatusCode::NO_CONTENT)
}

/// Refuses a body that does not say that it is WebAssembly: a mistaken upload shall not be taken for one.
fn expect_wasm(headers: &HeaderMap) -> Result<(), Failure> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if given.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case(WASM)) {
        return Ok(());
    }
    Err(Failure::new(Kind::MediaType, "not_wasm", "the body does not say that it is WebAssembly")
        .hinted(format!("send `Content-Type: {WASM}`")))
}

fn shown(info: ToolInfo) -> types::Tool {
    types::Tool {
        name: info.name,
        kind: match info.kind {
            sandglass_runtime::ToolKind::BuiltIn => types::ToolKind::BuiltIn,
            sandglass_runtime::ToolKind::Component => types::ToolKind::Component,
            sandglass_runtime::ToolKind::Module => types::ToolKind::Module,
        },
        description: info.description,
        functions: info
            .functions
            .into_iter()
            .map(|function| types::ToolFunction {
                name: function.name,
                description: function.description,
                arguments: function.arguments,
                result: function.result,
            })
            .collect(),
        upload: info.upload.map(|upload| types::ToolUpload {
            hash: upload.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            bytes: upload.bytes,
            time: view::time(upload.time),
            actor: upload.actor,
            stub_imports: upload.stub_imports,
        }),
    }
}
