//! A route and its description, said once: the router, the scopes and the OpenAPI document are all made from it.

use crate::app::{Access, App};
use axum::{handler::Handler, routing::MethodRouter};
use control_api_types::{Code, Problem};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ContentBuilder, HttpMethod, Ref, RefOr, Required, ResponseBuilder, Schema,
        path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, SchemaType, Type},
        security::SecurityRequirement,
    },
};

/// Largest body of JSON: a flow of a thousand steps is a fifth of it.
pub(crate) const MAX_JSON: usize = 256 * 1024;

/// One path with one method.
pub(crate) struct Route {
    pub(crate) method: HttpMethod,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) handler: MethodRouter<App>,
    pub(crate) max_body: usize,
    pub(crate) operation: OperationBuilder,
    codes: BTreeSet<Code>,
    /// Schemas by name that the operation refers to.
    pub(crate) schemas: Vec<(String, RefOr<Schema>)>,
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident => $method:ident),+) => { $(
        $(#[$doc])*
        pub(crate) fn $name<H: Handler<T, App>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
            Self::new(HttpMethod::$method, path, access, axum::routing::$name(handler))
        }
    )+ };
}

impl Route {
    methods! {
        /// A GET.
        get => Get,
        /// A POST.
        post => Post,
        /// A PUT.
        put => Put,
        /// A PATCH.
        patch => Patch,
        /// A DELETE.
        delete => Delete
    }

    fn new(method: HttpMethod, path: &'static str, access: Access, handler: MethodRouter<App>) -> Self {
        let codes = BTreeSet::from([Code::Internal]);
        let mut route = Self {
            method,
            path,
            access,
            handler,
            max_body: MAX_JSON,
            operation: OperationBuilder::new(),
            codes,
            schemas: Vec::new(),
        };
        for name in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path);
            route.operation =
                route.operation.parameter(parameter.required(Required::True).schema(Some(text())));
            route.codes.insert(Code::NotFound);
        }
        match access {
            Access::Open => {
                route.operation = route.operation.securities(Some([SecurityRequirement::default()]))
            }
            Access::Token(scope) | Access::Stream(scope) => {
                route.operation =
                    route.operation.security(SecurityRequirement::new("token", [scope.as_str()]));
                route.codes.extend([Code::Unauthorized, Code::Forbidden, Code::RateLimited]);
                // Whoever asks an engine that stops, or has more to do than it can take in.
                route.codes.extend([Code::Draining, Code::Overloaded]);
            }
        }
        if matches!(route.method, HttpMethod::Post) && access != Access::Open {
            route = route.header(
                "Idempotency-Key",
                key(),
                "The same key and body within 24 hours replay the first answer.",
            );
            route.codes.extend([Code::Validation, Code::InProgress, Code::KeyReused]);
        }
        route
    }

    /// What it is called and does.
    pub(crate) fn says(mut self, tag: &str, id: &str, summary: &str) -> Self {
        self.operation = self.operation.tag(tag).operation_id(Some(id)).summary(Some(summary));
        self
    }

    /// More about it.
    pub(crate) fn more(mut self, text: &str) -> Self {
        self.operation = self.operation.description(Some(text));
        self
    }

    /// Parameters of its query: name, type and meaning.
    pub(crate) fn query(mut self, parameters: &[(&str, Schema, &str)]) -> Self {
        for (name, schema, meaning) in parameters {
            let parameter = ParameterBuilder::new().name(*name).parameter_in(ParameterIn::Query);
            let parameter = parameter.required(Required::False).schema(Some(schema.clone()));
            self.operation = self.operation.parameter(parameter.description(Some(*meaning)));
        }
        self.codes.insert(Code::Validation);
        self
    }

    /// A header it takes.
    pub(crate) fn header(mut self, name: &str, schema: Schema, meaning: &str) -> Self {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header);
        let parameter = parameter.required(Required::False).schema(Some(schema));
        self.operation = self.operation.parameter(parameter.description(Some(meaning)));
        self
    }

    /// Its body is a `T` in JSON.
    pub(crate) fn body<T: ToSchema>(self) -> Self {
        self.json::<T>(Required::True)
    }

    /// Its body is a `T` in JSON, or there is none.
    pub(crate) fn body_or_none<T: ToSchema>(self) -> Self {
        self.json::<T>(Required::False)
    }

    fn json<T: ToSchema>(mut self, required: Required) -> Self {
        let content = ContentBuilder::new().schema(Some(self.reference::<T>())).build();
        self.codes.extend([Code::Unparsable, Code::Validation, Code::TooLarge]);
        self.request("application/json", content, required)
    }

    /// Its body is a form with a file, or a `T` in JSON.
    pub(crate) fn form_or_body<T: ToSchema>(mut self, max_body: usize) -> Self {
        let file =
            ObjectBuilder::new().schema_type(Type::String).content_media_type("application/octet-stream");
        let form = ObjectBuilder::new()
            .property("name", text())
            .property("file", file)
            .required("name")
            .required("file")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        let form = ContentBuilder::new().schema(Some(Schema::from(form))).build();
        let json = ContentBuilder::new().schema(Some(self.reference::<T>())).build();
        self.max_body = max_body;
        self.codes.extend([Code::Unparsable, Code::Validation, Code::TooLarge, Code::UnsupportedMediaType]);
        let body =
            RequestBodyBuilder::new().content("multipart/form-data", form).content("application/json", json);
        self.operation = self.operation.request_body(Some(body.required(Some(Required::True)).build()));
        self
    }

    fn request(mut self, kind: &str, content: utoipa::openapi::Content, required: Required) -> Self {
        let body = RequestBodyBuilder::new().content(kind, content).required(Some(required)).build();
        self.operation = self.operation.request_body(Some(body));
        self
    }

    /// Answers with a `T` in JSON.
    pub(crate) fn answers<T: ToSchema>(mut self, status: u16, meaning: &str) -> Self {
        let schema = self.reference::<T>();
        self.response(status, meaning, &[("application/json", schema)])
    }

    /// Answers with a page of `T`.
    pub(crate) fn pages<T: ToSchema>(mut self, meaning: &str) -> Self {
        let items = ArrayBuilder::new().items(self.reference::<T>());
        let cursor = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some("What to give as cursor for the next page; null at the end."));
        let page = ObjectBuilder::new()
            .property("items", items)
            .property("next_cursor", cursor)
            .required("items")
            .required("next_cursor");
        self.response(200, meaning, &[("application/json", Schema::from(page).into())])
    }

    /// Answers with something else than JSON: with one of these types.
    pub(crate) fn answers_as(self, status: u16, meaning: &str, kinds: &[&str]) -> Self {
        let schema = |kind: &str| if kind.ends_with("json") { json_object() } else { text() };
        let contents: Vec<_> = kinds.iter().map(|kind| (*kind, schema(kind).into())).collect();
        self.response(status, meaning, &contents)
    }

    /// Answers with nothing but a status.
    pub(crate) fn answers_empty(self, status: u16, meaning: &str) -> Self {
        self.response(status, meaning, &[])
    }

    fn response(mut self, status: u16, meaning: &str, contents: &[(&str, RefOr<Schema>)]) -> Self {
        let mut response = ResponseBuilder::new().description(meaning);
        for (kind, schema) in contents {
            response = response.content(*kind, ContentBuilder::new().schema(Some(schema.clone())).build());
        }
        self.operation = self.operation.response(status.to_string(), response);
        self
    }

    /// Problems besides those that follow from what it takes.
    pub(crate) fn problems(mut self, codes: &[Code]) -> Self {
        self.codes.extend(codes);
        self
    }

    /// A schema that an answer carries in another wrapping.
    pub(crate) fn mentions<T: ToSchema>(mut self) -> Self {
        self.reference::<T>();
        self
    }

    fn reference<T: ToSchema>(&mut self) -> RefOr<Schema> {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        Ref::from_schema_name(T::name()).into()
    }

    /// The finished description, with its problems by status, and the schemas that it refers to.
    pub(crate) fn describe(mut self) -> (Operation, Vec<(String, RefOr<Schema>)>) {
        let problem = self.reference::<Problem>();
        let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for code in &self.codes {
            by_status.entry(code.status()).or_default().push(code.as_str());
        }
        for (status, codes) in by_status {
            let content = ContentBuilder::new().schema(Some(problem.clone())).build();
            let response = ResponseBuilder::new().description(codes.join(", "));
            let response = response.content("application/problem+json", content);
            self.operation = self.operation.response(status.to_string(), response);
        }
        (self.operation.build(), self.schemas)
    }
}

/// A string.
pub(crate) fn text() -> Schema {
    ObjectBuilder::new().schema_type(Type::String).into()
}

/// What may be an `Idempotency-Key`.
fn key() -> Schema {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[!-~]([ -~]{0,253}[!-~])?$")).into()
}

/// An object of whatever shape.
fn json_object() -> Schema {
    ObjectBuilder::new().schema_type(Type::Object).into()
}

/// A whole number.
pub(crate) fn number(min: u32, max: u32, default: u32) -> Schema {
    let number = ObjectBuilder::new().schema_type(Type::Integer).default(Some(default.into()));
    number.minimum(Some(f64::from(min))).maximum(Some(f64::from(max))).into()
}

/// One of a few words.
pub(crate) fn word<'a>(words: impl IntoIterator<Item = &'a str>) -> Schema {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
}

/// A schema of the types crate without a reference.
pub(crate) fn inline<T: PartialSchema>() -> Schema {
    match T::schema() {
        RefOr::T(schema) => schema,
        RefOr::Ref(_) => text(),
    }
}
