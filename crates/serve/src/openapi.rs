//! The description of the interface for programs, from the types and the handlers.

use utoipa::OpenApi;

use crate::query::Judgement;
use crate::routes;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "fmam serve",
        description = "Verdicts on images of industrial products, by detectors that learnt from good images. \
                       With `--token-file` a request needs `Authorization: Bearer TOKEN`.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(routes::predict, routes::models, routes::collect, routes::health, routes::ready, routes::metrics,),
    // A parameter alone has it.
    components(schemas(Judgement))
)]
struct Description;

/// The description as JSON.
pub(crate) fn openapi() -> String {
    Description::openapi().to_pretty_json().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_and_every_type_is_described() {
        let description: serde_json::Value = serde_json::from_str(&openapi()).unwrap();
        let mut paths: Vec<&str> =
            description["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["/healthz", "/metrics", "/readyz", "/v1/collect", "/v1/models", "/v1/predict"]);
        // Every reference leads somewhere.
        let text = description.to_string();
        let schemas = description["components"]["schemas"].as_object().unwrap();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
        for name in ["Line", "Region", "Warning", "Outcome", "VerdictEntry", "ModelList", "RefusalBody"] {
            assert!(schemas.contains_key(name), "{name} in {:?}", schemas.keys());
        }
    }
}
