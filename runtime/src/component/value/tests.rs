//! Values both ways: what comes back is what went in, for any type; and what is wrong is said.

use proptest::prelude::*;
use serde_json::{Value, json};
use wasmtime::component::Val;

use super::*;

fn names() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::btree_set("[a-z][a-z0-9]{0,5}(-[a-z]{1,3})?", 1..5)
        .prop_map(|names| names.into_iter().collect())
}

/// Any type, some levels deep.
fn shapes() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Bool),
        Just(Shape::S8),
        Just(Shape::U8),
        Just(Shape::S16),
        Just(Shape::U16),
        Just(Shape::S32),
        Just(Shape::U32),
        Just(Shape::S64),
        Just(Shape::U64),
        Just(Shape::F32),
        Just(Shape::F64),
        Just(Shape::Char),
        Just(Shape::String),
        Just(Shape::Bytes),
        names().prop_map(Shape::Enum),
        names().prop_map(Shape::Flags),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let side = proptest::option::of(inner.clone());
        prop_oneof![
            inner
                .clone()
                .prop_filter("that is `Bytes`", |item| *item != Shape::U8)
                .prop_map(|item| Shape::List(item.into())),
            inner.clone().prop_map(|value| Shape::Option(value.into())),
            (side.clone(), side).prop_map(|(ok, err)| Shape::Result(ok.map(Box::new), err.map(Box::new))),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Shape::Tuple),
            (names(), proptest::collection::vec(inner.clone(), 5))
                .prop_map(|(names, shapes)| Shape::Record(names.into_iter().zip(shapes).collect())),
            (names(), proptest::collection::vec(proptest::option::of(inner), 5))
                .prop_map(|(names, shapes)| Shape::Variant(names.into_iter().zip(shapes).collect())),
        ]
    })
}

/// Any value of a type.
fn values(shape: Shape) -> BoxedStrategy<Val> {
    let list = |item: Shape| proptest::collection::vec(values(item), 0..4);
    let boxed = |value: Val| Some(Box::new(value));
    match shape {
        Shape::Bool => any::<bool>().prop_map(Val::Bool).boxed(),
        Shape::S8 => any::<i8>().prop_map(Val::S8).boxed(),
        Shape::U8 => any::<u8>().prop_map(Val::U8).boxed(),
        Shape::S16 => any::<i16>().prop_map(Val::S16).boxed(),
        Shape::U16 => any::<u16>().prop_map(Val::U16).boxed(),
        Shape::S32 => any::<i32>().prop_map(Val::S32).boxed(),
        Shape::U32 => any::<u32>().prop_map(Val::U32).boxed(),
        Shape::S64 => any::<i64>().prop_map(Val::S64).boxed(),
        Shape::U64 => any::<u64>().prop_map(Val::U64).boxed(),
        Shape::F32 => any::<f32>().prop_map(Val::Float32).boxed(),
        Shape::F64 => any::<f64>().prop_map(Val::Float64).boxed(),
        Shape::Char => any::<char>().prop_map(Val::Char).boxed(),
        Shape::String => ".{0,8}".prop_map(Val::String).boxed(),
        Shape::Bytes => list(Shape::U8).prop_map(Val::List).boxed(),
        Shape::List(item) => list(*item).prop_map(Val::List).boxed(),
        Shape::Record(fields) => {
            let (names, shapes): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
            let fields = shapes.into_iter().map(values).collect::<Vec<_>>();
            fields.prop_map(move |values| Val::Record(names.iter().cloned().zip(values).collect())).boxed()
        }
        Shape::Tuple(items) => items.into_iter().map(values).collect::<Vec<_>>().prop_map(Val::Tuple).boxed(),
        Shape::Variant(cases) => proptest::sample::select(cases)
            .prop_flat_map(move |(name, shape)| match shape {
                None => Just(Val::Variant(name, None)).boxed(),
                Some(shape) => values(shape).prop_map(move |value| Val::Variant(name.clone(), boxed(value))).boxed(),
            })
            .boxed(),
        Shape::Enum(names) => proptest::sample::select(names).prop_map(Val::Enum).boxed(),
        Shape::Flags(names) => {
            let count = names.len();
            proptest::sample::subsequence(names, 0..=count).prop_map(Val::Flags).boxed()
        }
        Shape::Option(value) => proptest::option::of(values(*value).prop_map(Box::new)).prop_map(Val::Option).boxed(),
        Shape::Result(ok, err) => {
            let side = |shape: Option<Box<Shape>>| match shape {
                None => Just(None).boxed(),
                Some(shape) => values(*shape).prop_map(boxed).boxed(),
            };
            prop_oneof![
                side(ok).prop_map(|value| Val::Result(Ok(value))),
                side(err).prop_map(|value| Val::Result(Err(value)))
            ]
            .boxed()
        }
    }
}

/// Whether a value fits what its schema says, for the words that `schema.rs` writes.
fn fits(schema: &Value, value: &Value) -> bool {
    let all = |key: &str, check: &dyn Fn(&Value) -> bool| schema.get(key).is_none_or(check);
    let list = |of: &Value| of.as_array().cloned().unwrap_or_default();
    let numbers = |key: &str, over: bool| {
        all(key, &|limit| {
            let (Some(value), Some(limit)) = (value.as_f64(), limit.as_f64()) else { return true };
            if over { value >= limit } else { value <= limit }
        })
    };
    let kind = |word: &str| match word {
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => false,
    };
    let length = value.as_str().map_or(0, |text| text.chars().count()) as u64;
    all("type", &|word| kind(word.as_str().unwrap_or_default()))
        && all("enum", &|names| list(names).contains(value))
        && all("const", &|only| only == value)
        && all("anyOf", &|ways| list(ways).iter().any(|way| fits(way, value)))
        && all("oneOf", &|ways| list(ways).iter().filter(|way| fits(way, value)).count() == 1)
        && numbers("minimum", true)
        && numbers("maximum", false)
        && all("minLength", &|least| least.as_u64().is_some_and(|least| length >= least))
        && all("maxLength", &|most| most.as_u64().is_some_and(|most| length <= most))
        && all("items", &|item| {
            let skipped = schema.get("prefixItems").map_or(0, |items| list(items).len());
            list(value).iter().skip(skipped).all(|value| *item != json!(false) && fits(item, value))
        })
        && all("prefixItems", &|items| list(items).iter().zip(list(value)).all(|(item, value)| fits(item, &value)))
        && all("minItems", &|least| list(value).len() as u64 >= least.as_u64().unwrap_or(0))
        && all("required", &|names| {
            list(names).iter().all(|name| value.get(name.as_str().unwrap_or_default()).is_some())
        })
        && all("properties", &|known| {
            value.as_object().is_none_or(|fields| {
                fields.iter().all(|(name, value)| known.get(name).is_some_and(|schema| fits(schema, value)))
            })
        })
}

fn same(left: &Val, right: &Val) -> bool {
    // No NaN equals another, and every other value equals itself alone.
    format!("{left:?}") == format!("{right:?}")
}

proptest! {
    #[test]
    fn what_comes_back_is_what_went_in((shape, value) in shapes().prop_flat_map(|shape| (Just(shape.clone()), values(shape)))) {
        let written = json(&shape, &value).unwrap();
        prop_assert!(fits(&crate::component::schema::schema(&shape), &written), "{shape:?}: {written}");
        // Over the wire and back.
        let text = serde_json::to_string(&json!({ "value": written })).unwrap();
        let given: Value = serde_json::from_str(&text).unwrap();
        let fields = [("value".to_owned(), shape.clone())];
        let read = arguments(&fields, &given).unwrap();
        prop_assert!(same(&read[0], &value), "{shape:?}: {value:?} became {:?}", read[0]);
    }

    #[test]
    fn what_is_read_can_be_written(shape in shapes(), text in "[\\[\\]{}\":,0-9a-z.-]{0,20}") {
        let Ok(given) = serde_json::from_str::<Value>(&text) else { return Ok(()) };
        let fields = [("value".to_owned(), shape.clone())];
        if let Ok(read) = arguments(&fields, &json!({ "value": given })) {
            prop_assert!(json(&shape, &read[0]).is_ok());
        }
    }
}

#[test]
fn numbers_are_taken_as_people_and_programs_write_them() {
    let read = |shape: Shape, value: Value| arguments(&[("n".to_owned(), shape)], &json!({ "n": value }));
    assert!(same(&read(Shape::U64, json!("18446744073709551615")).unwrap()[0], &Val::U64(u64::MAX)));
    assert!(same(&read(Shape::S64, json!("-9223372036854775808")).unwrap()[0], &Val::S64(i64::MIN)));
    assert!(same(&read(Shape::U8, json!(3.0)).unwrap()[0], &Val::U8(3)));
    assert!(same(&read(Shape::F64, json!(3)).unwrap()[0], &Val::Float64(3.0)));
    for (shape, value) in [
        (Shape::U8, json!(256)),
        (Shape::U8, json!(-1)),
        (Shape::U8, json!(1.5)),
        (Shape::U8, json!("1")),
        (Shape::U64, json!(1e300)),
        (Shape::U64, json!("18446744073709551616")),
        (Shape::S8, json!(-129)),
        (Shape::F32, json!(1e300)),
        (Shape::F64, json!("nan")),
        (Shape::Char, json!("ab")),
        (Shape::Bytes, json!("***")),
        (Shape::Bool, json!(1)),
    ] {
        assert!(read(shape.clone(), value.clone()).is_err(), "{shape:?} {value}");
    }
    let largest = json(&Shape::U64, &Val::U64((1 << 53) - 1)).unwrap();
    assert_eq!(largest, json!(9_007_199_254_740_991_u64));
    assert_eq!(json(&Shape::U64, &Val::U64(1 << 53)).unwrap(), json!("9007199254740992"));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let point = Shape::Record(vec![("x".to_owned(), Shape::U8), ("y".to_owned(), Shape::Option(Shape::U8.into()))]);
    let fields = [("points".to_owned(), Shape::List(point.into()))];
    for (given, words) in [
        (
            json!({ "points": [{ "x": 1 }, { "x": "one" }] }),
            "arguments.points[1].x: a whole number from 0 to 255 is wanted, not \"one\"",
        ),
        (json!({ "points": [{ "y": 1 }] }), "arguments.points[0]: `x` is missing"),
        (json!({ "point": [] }), "arguments: there is no field `point`; the fields are: `points`"),
        (json!({ "points": { "x": 1 } }), "arguments.points: an array is wanted, not an object"),
        (json!([1]), "arguments: an object is wanted, not an array"),
    ] {
        assert_eq!(arguments(&fields, &given).unwrap_err(), words);
    }
    let cases = Shape::Variant(vec![("none".to_owned(), None), ("some".to_owned(), Some(Shape::U8))]);
    let read = |value: Value| arguments(&[("v".to_owned(), cases.clone())], &json!({ "v": value }));
    assert!(read(json!("none")).is_ok() && read(json!({ "some": 1 })).is_ok());
    for bad in
        [json!("some"), json!({ "none": null }), json!({ "other": 1 }), json!({ "some": 1, "none": 2 }), json!(1)]
    {
        assert!(read(bad.clone()).is_err(), "{bad}");
    }
}

#[test]
fn huge_values_are_refused_before_they_are_built() {
    let list = Shape::List(Shape::Bool.into());
    let given = json!({ "l": vec![true; VALUES_MAX] });
    assert!(arguments(&[("l".to_owned(), list.clone())], &given).unwrap_err().contains("write large inputs to files"));
    let value = Val::List(vec![Val::Bool(true); VALUES_MAX]);
    assert!(json(&list, &value).unwrap_err().contains("more than 1000000 values"));
}
