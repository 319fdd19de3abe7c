//! The answer to an instant query.

use serde::Deserialize;
use serde_json::Value;

use crate::poll::http::parse_json;

#[derive(Debug, PartialEq)]
pub struct Answer {
    /// `None` when there is no series.
    pub value: Option<f64>,
    /// Parts of a federated server that did not answer, for one.
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Raw {
    status: String,
    error: Option<String>,
    data: Option<Data>,
    warnings: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    kind: String,
    result: Value,
}

/// One series of a vector.
#[derive(Deserialize)]
struct Series {
    /// Absent in a series of histograms.
    value: Option<Sample>,
}

/// When, and how much, as text: `NaN` and `+Inf` are no JSON numbers.
#[derive(Deserialize)]
struct Sample(
    #[expect(dead_code, reason = "only its place counts")] f64,
    String,
);

pub fn parse(body: &[u8]) -> Result<Answer, String> {
    let raw: Raw = parse_json(body)?;
    if raw.status != "success" {
        let error = raw.error.unwrap_or_default();
        return Err(format!("status \"{}\": {error}", raw.status));
    }
    let data = raw.data.ok_or("it has no data")?;
    let sample = match data.kind.as_str() {
        "scalar" => Some(read::<Sample>(data.result)?),
        "vector" => match read::<Vec<Series>>(data.result)?.as_mut_slice() {
            [] => None,
            [only] => Some(only.value.take().ok_or("it is a histogram, no number")?),
            many => {
                return Err(format!("{} series: ask for one, with sum(...)", many.len()));
            }
        },
        kind => return Err(format!("a {kind}, no single number")),
    };
    let value = sample.map(|Sample(_, text)| {
        let number = text.parse().map_err(|_| format!("\"{text}\" is no number"));
        number.and_then(|number: f64| match number.is_nan() {
            true => Err("NaN: unknown".to_owned()),
            false => Ok(number),
        })
    });
    Ok(Answer {
        value: value.transpose()?,
        warnings: raw.warnings.unwrap_or_default(),
    })
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("the result is not as expected: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(series: &str) -> String {
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{series}]}}}}"#)
    }

    fn value(body: &str) -> Result<Option<f64>, String> {
        parse(body.as_bytes()).map(|answer| answer.value)
    }

    #[test]
    fn one_series_or_scalar_is_a_number() {
        let one = r#"{"metric":{"__name__":"up","job":"ci"},"value":[1435781451.781,"12"]}"#;
        assert_eq!(value(&vector(one)), Ok(Some(12.0)));
        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2.5"]}}"#;
        assert_eq!(value(scalar), Ok(Some(2.5)));
        assert_eq!(value(&vector("")), Ok(None));
        assert_eq!(
            value(&vector(r#"{"metric":{},"value":[1,"+Inf"]}"#)),
            Ok(Some(f64::INFINITY))
        );
    }

    #[test]
    fn everything_else_is_unknown_and_says_why() {
        let one = r#"{"metric":{},"value":[1,"1"]}"#;
        let table = [
            (
                vector(&format!("{one},{one}")),
                "2 series: ask for one, with sum(...)",
            ),
            (vector(r#"{"metric":{},"value":[1,"NaN"]}"#), "NaN: unknown"),
            (
                vector(r#"{"metric":{},"value":[1,"x"]}"#),
                "\"x\" is no number",
            ),
            (vector(r#"{"metric":{},"value":[1,1]}"#), "not as expected"),
            (vector(r#"{"metric":{},"histogram":[1,{}]}"#), "a histogram"),
            (vector("null"), "not as expected"),
            (
                r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#.to_owned(),
                "a matrix, no single number",
            ),
            (
                r#"{"status":"success","data":{"resultType":"vector","result":null}}"#.to_owned(),
                "not as expected",
            ),
            (
                r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#.to_owned(),
                "status \"error\": parse error",
            ),
            (r#"{"status":"success"}"#.to_owned(), "it has no data"),
            ("<html>".to_owned(), "no JSON"),
        ];
        for (body, expected) in table {
            let said = value(&body).expect_err(&body);
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn warnings_are_passed_on() {
        let body = r#"{"status":"success","data":{"resultType":"vector","result":[]},
            "warnings":["one store did not answer"]}"#;
        let answer = parse(body.as_bytes()).expect("read");
        assert_eq!(answer.warnings, ["one store did not answer"]);
    }
}
