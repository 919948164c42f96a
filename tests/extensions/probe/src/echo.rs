//! `probe:types/echo`: every value, there and back.

use backplane_sdk::{Bytes, Context, Failure, List};

use crate::{
    Binding,
    bindings::probe::types::echo::{
        Grid, Handler, Name, Names, Nested, Nine, Point, Shape, ShapeKind, Ten, ThirtyTwo, Three,
        Twenty,
    },
};

macro_rules! echo {
    ($($name:ident: $parameter:ty => $result:ty;)*) => {$(
        #[allow(clippy::useless_conversion, reason = "some echoes own what they borrow")]
        async fn $name(&self, _: &Context, v: $parameter) -> Result<$result, Failure> {
            Ok(v.into())
        }
    )*};
    ($($name:ident: $value:ty;)*) => {
        echo! { $($name: $value => $value;)* }
    };
}

fn owned(strings: Vec<&str>) -> Vec<String> {
    strings.into_iter().map(str::to_owned).collect()
}

#[allow(
    clippy::too_many_arguments,
    clippy::many_single_char_names,
    reason = "that is what is tested"
)]
impl Handler for Binding {
    async fn nothing(&self, _: &Context) -> Result<(), Failure> {
        Ok(())
    }

    echo! {
        echo_bool: bool;
        echo_u8: u8;
        echo_u16: u16;
        echo_u32: u32;
        echo_u64: u64;
        echo_s8: i8;
        echo_s16: i16;
        echo_s32: i32;
        echo_s64: i64;
        echo_f32: f32;
        echo_f64: f64;
        echo_char: char;
        list_bool: Vec<bool>;
        list_u8: Bytes;
        list_u16: List<u16>;
        list_u32: List<u32>;
        list_u64: List<u64>;
        list_s8: Vec<i8>;
        list_s16: List<i16>;
        list_s32: List<i32>;
        list_s64: List<i64>;
        list_f32: List<f32>;
        list_f64: List<f64>;
        list_char: Vec<char>;
        list_bytes: Vec<Bytes>;
        list_lists: Vec<Vec<Vec<u16>>>;
        list_point: Vec<Point>;
        list_ten: Vec<Ten>;
        list_shape: Vec<Shape>;
        list_kind: Vec<ShapeKind>;
        list_flags: Vec<ThirtyTwo>;
        list_options: Vec<Option<u64>>;
        echo_point: Point;
        echo_ten: Ten;
        echo_nested: Nested;
        echo_shape: Shape;
        echo_kind: ShapeKind;
        echo_grid: Grid;
        echo_option_bytes: Option<Bytes>;
        echo_option_option: Option<Option<u32>>;
        echo_result_unit: Result<(), ()>;
        echo_result_ok: Result<Bytes, ()>;
        echo_result_error: Result<(), Shape>;
        echo_three: Three;
        echo_nine: Nine;
        echo_twenty: Twenty;
        echo_thirty_two: ThirtyTwo;
    }

    echo! {
        echo_string: &str => String;
        echo_name: &str => Name;
    }

    async fn echo_names(&self, _: &Context, v: Vec<&str>) -> Result<Names, Failure> {
        Ok(owned(v))
    }

    async fn list_string(&self, _: &Context, v: Vec<&str>) -> Result<Vec<String>, Failure> {
        Ok(owned(v))
    }

    async fn echo_tuple(
        &self,
        _: &Context,
        v: (u8, &str, f64),
    ) -> Result<(u8, String, f64), Failure> {
        Ok((v.0, v.1.to_owned(), v.2))
    }

    async fn echo_option(&self, _: &Context, v: Option<&str>) -> Result<Option<String>, Failure> {
        Ok(v.map(str::to_owned))
    }

    async fn echo_result(
        &self,
        _: &Context,
        v: Result<u32, &str>,
    ) -> Result<Result<u32, String>, Failure> {
        Ok(v.map_err(str::to_owned))
    }

    async fn sixteen(
        &self,
        _: &Context,
        a: u8,
        b: u16,
        c: u32,
        d: u64,
        e: i8,
        f: i16,
        g: i32,
        h: i64,
        i: f32,
        j: f64,
        k: bool,
        l: char,
        m: &str,
        n: &str,
    ) -> Result<(u8, u16, u32, u64, i8, i16, i32, i64, f32, f64, bool, char, String, String), Failure>
    {
        Ok((a, b, c, d, e, f, g, h, i, j, k, l, m.to_owned(), n.to_owned()))
    }

    async fn spilled(
        &self,
        _: &Context,
        a: u8,
        b: u16,
        c: u32,
        d: u64,
        e: i8,
        f: i16,
        g: i32,
        h: i64,
        i: f32,
        j: f64,
        k: bool,
        l: char,
        m: &str,
        n: Bytes,
        o: Point,
        p: Option<u64>,
        _: Shape,
    ) -> Result<
        (
            u8,
            u16,
            u32,
            u64,
            i8,
            i16,
            i32,
            i64,
            f32,
            f64,
            bool,
            char,
            String,
            Bytes,
            Point,
            Option<u64>,
        ),
        Failure,
    > {
        Ok((a, b, c, d, e, f, g, h, i, j, k, l, m.to_owned(), n, o, p))
    }

    async fn seventeen(
        &self,
        _: &Context,
        a: u64,
        b: u64,
        c: u64,
        d: u64,
        e: u64,
        f: u64,
        g: u64,
        h: u64,
        i: u64,
        j: u64,
        k: u64,
        l: u64,
        m: u64,
        n: u64,
        o: u64,
        p: u64,
        q: u64,
    ) -> Result<u64, Failure> {
        let numbers = [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q];
        Ok(numbers.into_iter().fold(0, u64::wrapping_add))
    }

    async fn keywords(
        &self,
        _: &Context,
        type_: u32,
        cx_: u32,
        this_: u32,
    ) -> Result<(u32, u32, u32), Failure> {
        Ok((type_, cx_, this_))
    }
}
