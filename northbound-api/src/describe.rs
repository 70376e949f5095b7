//! What the OpenAPI document says of the routes that every kind of resource has.

use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, Paths, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{ContentBuilder, PathItem, Ref, RefOr, Required, Schema};
use utoipa::{PartialSchema, ToSchema};
use weft_controller::resource::{Kind, Place};

use crate::list::ListParams;
use crate::routes::resources::Removal;
use crate::view::{
    Diff, Entry, EntryBody, FlowBody, FlowSetBody, Group, GroupBody, Meter, MeterBody,
    ResourceStatus,
};

/// What the document calls a kind, and the shape of what is put there.
struct Shape {
    /// The schema of an answer; that of a body has `Body` after it.
    name: &'static str,
    tag: &'static str,
    body: fn() -> RefOr<Schema>,
}

fn shape(kind: Kind) -> Shape {
    let (name, tag, body): (_, _, fn() -> RefOr<Schema>) = match kind {
        Kind::Group => ("FlowGroup", "flows", GroupBody::schema),
        Kind::Meter => ("FlowMeter", "flows", MeterBody::schema),
        Kind::Flow => ("Flow", "flows", FlowBody::schema),
        Kind::Entry => ("Entry", "entries", EntryBody::schema),
        Kind::FlowSet => ("FlowSet", "flows", FlowSetBody::schema),
    };
    Shape { name, tag, body }
}

/// The address of a collection, with the names of what it is under in braces.
fn pattern(kind: Kind) -> String {
    let parents = kind.parents().iter().copied();
    under(kind, parents.map(|what| (what, format!("{{{what}}}"))))
}

/// The address of a resource.
pub(crate) fn address(place: &Place) -> String {
    let parents = place.parents();
    let parents = parents.map(|(what, name)| (what, name.to_owned()));
    format!("{}/{}", under(place.kind, parents), place.name())
}

fn under(kind: Kind, parents: impl Iterator<Item = (&'static str, String)>) -> String {
    let mut path = "/v1".to_owned();
    for (what, name) in parents {
        let collection = match what {
            "switch" => "switches",
            _ => "tables",
        };
        path.push_str(&format!("/{collection}/{name}"));
    }
    format!("{path}/{}", kind.collection())
}

/// The schemas of a kind, and those that they refer to.
pub(crate) fn schemas(kind: Kind) -> Vec<(String, RefOr<Schema>)> {
    let Shape { name, body, .. } = shape(kind);
    let mut schemas = vec![
        (format!("{name}Body"), body()),
        (name.to_owned(), answer(kind)),
    ];
    fn add<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(schemas);
        schemas.push((T::name().into_owned(), T::schema()));
    }
    add::<ResourceStatus>(&mut schemas);
    add::<Entry>(&mut schemas);
    add::<Group>(&mut schemas);
    add::<Meter>(&mut schemas);
    add::<Diff>(&mut schemas);
    add::<Removal>(&mut schemas);
    schemas
}

/// What is answered: the normal form of what was put, and what the controller knows of it.
fn answer(kind: Kind) -> RefOr<Schema> {
    let mut object = ObjectBuilder::new();
    object = object.property("name", text("Its name.")).required("name");
    for parent in kind.parents() {
        let doc = format!("Its {parent}.");
        object = object.property(*parent, text(&doc)).required(*parent);
    }
    if let RefOr::T(Schema::Object(body)) = (shape(kind).body)() {
        for (name, schema) in body.properties {
            object = object.property(name, schema);
        }
    }
    let list = |of: &str| ArrayBuilder::new().items(reference(of));
    if matches!(kind, Kind::Group | Kind::Flow) {
        object = object
            .property("groups", list("Group"))
            .property("entries", list(&Entry::name()));
    }
    if kind == Kind::Meter {
        object = object.property("meter", reference(&Meter::name()));
    }
    if kind == Kind::Flow {
        let doc = "The flow set that it is part of, through which alone it is changed.";
        object = object.property("flowSet", text(doc));
    }
    object
        .description(Some(format!(
            "One {} in normal form, with everything that is known of it.",
            kind.noun()
        )))
        .property("owner", text("Who made it."))
        .required("owner")
        .property("status", reference(&ResourceStatus::name()))
        .required("status")
        .property("diff", reference(&Diff::name()))
        .into()
}

/// Lists.
pub(crate) fn collection(kind: Kind) -> Paths {
    use utoipa::IntoParams;
    let Shape { name, .. } = shape(kind);
    let page = ObjectBuilder::new()
        .property("items", ArrayBuilder::new().items(reference(name)))
        .required("items")
        .property("revision", text("The revision that the list shows."))
        .required("revision")
        .property(
            "next",
            text("The next page's `cursor`; null on the last page."),
        );
    let mut list = operation(kind, "list", &format!("The {}.", plural(kind)))
        .response("200", json("One page, by name.", page))
        .parameter(query("owner", "Those of one owner."));
    for param in ListParams::into_params(|| Some(ParameterIn::Query)) {
        list = list.parameter(param);
    }
    let list = with_parents(kind, list).build();
    let item = PathItem::new(HttpMethod::Get, list);
    PathsBuilder::new().path(pattern(kind), item).build()
}

/// One resource.
pub(crate) fn item(kind: Kind) -> Paths {
    let (Shape { name, .. }, noun) = (shape(kind), kind.noun());
    let path = format!("{}/{{{}}}", pattern(kind), own_name(kind));
    let body = |media: &str| {
        let content = ContentBuilder::new().schema(Some(reference(&format!("{name}Body"))));
        let body = RequestBodyBuilder::new().content(media, content.build());
        Some(body.required(Some(Required::True)).build())
    };
    let shown = |doc: &str| json(doc, reference(name));
    let removal = |doc: &str| json(doc, reference(&Removal::name()));
    let plain = |doc: &str| ResponseBuilder::new().description(doc).build();
    let get = one(kind, "get", &format!("One {noun}, with live counters."))
        .parameter(header(
            "If-None-Match",
            "Answer 304 when it is at this revision.",
        ))
        .response("200", shown("It."))
        .response("304", plain("It is at that revision."));
    let says = format!("Declares a {noun}. Saying the same again changes nothing.");
    let put = write(one(kind, "put", &says))
        .parameter(header("If-None-Match", "`*`: create only."))
        .request_body(body("application/json"))
        .response(
            "200",
            shown("Changed, or as it was; of a dry run: as it would be."),
        )
        .response("201", shown("Created."))
        .response("202", shown("Stored; a switch is away."));
    let says = format!(
        "Changes members of a {noun} (merge patch, RFC 7396); what the answer shows is what is patched."
    );
    let patch = write(one(kind, "patch", &says))
        .request_body(body("application/merge-patch+json"))
        .response(
            "200",
            shown("Changed, or as it was; of a dry run: as it would be."),
        )
        .response("202", shown("Stored; a switch is away."));
    let delete = write(one(kind, "delete", &format!("Takes a {noun} back.")))
        .response("200", removal("What a dry run found."))
        .response(
            "202",
            removal("Deleted; a switch is away and still has it."),
        )
        .response("204", plain("Deleted."));
    let mut item = PathItem::new(HttpMethod::Get, get.build());
    item.merge_operations(PathItem::new(HttpMethod::Put, put.build()));
    item.merge_operations(PathItem::new(HttpMethod::Patch, patch.build()));
    item.merge_operations(PathItem::new(HttpMethod::Delete, delete.build()));
    PathsBuilder::new().path(path, item).build()
}

fn operation(kind: Kind, verb: &str, summary: &str) -> OperationBuilder {
    OperationBuilder::new()
        .tag(shape(kind).tag)
        .operation_id(Some(format!("{verb}_{}", kind.collection())))
        .summary(Some(summary))
        .response("4XX", problem())
}

fn one(kind: Kind, verb: &str, summary: &str) -> OperationBuilder {
    let operation = with_parents(kind, operation(kind, verb, summary));
    operation.parameter(path_parameter(&own_name(kind)))
}

fn with_parents(kind: Kind, mut operation: OperationBuilder) -> OperationBuilder {
    for parent in kind.parents() {
        operation = operation.parameter(path_parameter(parent));
    }
    operation
}

fn write(operation: OperationBuilder) -> OperationBuilder {
    operation
        .parameter(query("dryRun", "Validate, compile and compare only."))
        .parameter(query("force", "Even if another owner made it."))
        .parameter(header("If-Match", "Only at this revision."))
        .parameter(header(
            "Prefer",
            "`wait=SECONDS`: until it is realized or rejected; of a deletion: until no switch forwards by it.",
        ))
        .parameter(header("Weft-Manager", "The owner; the principal where it is left out."))
}

fn plural(kind: Kind) -> String {
    let noun = kind.noun();
    match noun.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{noun}s"),
    }
}

/// The noun as a parameter is written: `flow set` as `flowSet`.
fn own_name(kind: Kind) -> String {
    let mut words = kind.noun().split(' ');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

fn path_parameter(name: &str) -> ParameterBuilder {
    parameter(name, ParameterIn::Path).required(Required::True)
}

fn query(name: &str, doc: &str) -> ParameterBuilder {
    let parameter = parameter(name, ParameterIn::Query);
    parameter.description(Some(doc)).required(Required::False)
}

fn header(name: &str, doc: &str) -> ParameterBuilder {
    let parameter = parameter(name, ParameterIn::Header);
    parameter.description(Some(doc)).required(Required::False)
}

fn parameter(name: &str, place: ParameterIn) -> ParameterBuilder {
    let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .schema(Some(text))
}

fn text(doc: &str) -> ObjectBuilder {
    let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
    text.description(Some(doc))
}

fn reference(name: &str) -> Ref {
    Ref::from_schema_name(name)
}

fn json(doc: &str, schema: impl Into<RefOr<Schema>>) -> Response {
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new()
        .description(doc)
        .content("application/json", content)
        .build()
}

fn problem() -> Response {
    let content = ContentBuilder::new().schema(Some(reference("Problem")));
    ResponseBuilder::new()
        .description("A problem.")
        .content("application/problem+json", content.build())
        .build()
}
