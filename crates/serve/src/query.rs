//! The parameters of a request behind the question mark.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

use crate::refusal::{Code, Refusal};

/// The parameters of `/v1/predict`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PredictQuery {
    /// The name of the model; the first one of the server without it.
    pub(crate) model: Option<String>,
    /// `1`: the image in its own size with the colours of high scores and the contour, as PNG.
    #[serde(default, deserialize_with = "flag")]
    #[param(value_type = Option<u8>, minimum = 0, maximum = 1)]
    pub(crate) overlay: bool,
    /// `1`: the anomaly map in the size of the image, as PNG of 16-bit grey.
    #[serde(default, deserialize_with = "flag")]
    #[param(value_type = Option<u8>, minimum = 0, maximum = 1)]
    pub(crate) map: bool,
    /// `1`: the colours of the map alone, as PNG with alpha, to lay over the image.
    #[serde(default, deserialize_with = "flag")]
    #[param(value_type = Option<u8>, minimum = 0, maximum = 1)]
    pub(crate) heat: bool,
    /// `1`: the image itself as PNG, for a program that cannot read its format.
    #[serde(default, deserialize_with = "flag")]
    #[param(value_type = Option<u8>, minimum = 0, maximum = 1)]
    pub(crate) preview: bool,
}

/// The parameters of `/v1/collect`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CollectQuery {
    /// The name of the model that the image is for; the first one of the server without it.
    pub(crate) model: Option<String>,
    /// The judgement of a person: `good` or `defective`.
    pub(crate) label: Judgement,
}

/// The judgement of a person on a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Judgement {
    /// The part is as it should be.
    Good,
    /// The part has a defect.
    Defective,
}

impl Judgement {
    /// The name, which is also that of the folder of such images.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Defective => "defective",
        }
    }
}

fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        other => Err(serde::de::Error::custom(format!("`{other}` is neither 1 nor 0"))),
    }
}

/// Parameters, whose faults are told as every other refusal.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(error) => Err(Refusal::new(Code::BadRequest, error.body_text())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query<T: DeserializeOwned>(text: &str) -> Option<T> {
        let uri = format!("/x?{text}").parse().unwrap();
        axum::extract::Query::try_from_uri(&uri).ok().map(|query| query.0)
    }

    #[test]
    fn parameters_are_read_and_others_are_refused() {
        let read: PredictQuery = query("model=a&overlay=1&map=0&heat=true").unwrap();
        let expected = PredictQuery {
            model: Some("a".to_owned()),
            overlay: true,
            heat: true,
            ..PredictQuery::default()
        };
        assert_eq!(read, expected);
        for bad in ["overlay=yes", "overlay", "ovrelay=1", "model=a&model=b"] {
            assert_eq!(query::<PredictQuery>(bad), None, "{bad}");
        }
        assert_eq!(query::<CollectQuery>("label=good").unwrap().label, Judgement::Good);
        for bad in ["", "label=bad", "label=good&path=/etc"] {
            assert_eq!(query::<CollectQuery>(bad), None, "{bad}");
        }
    }
}
