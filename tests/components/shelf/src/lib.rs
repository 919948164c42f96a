//! A component that somebody else might have made: it exports a plain WIT interface, built with `wit-bindgen` alone.

use std::{
    cell::{Cell, RefCell},
    fs,
    hint::black_box,
    net::TcpStream,
};

mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "maker", generate_all });
}

use bindings::exports::acme::shelf::shelf::{Guest, GuestItem, GuestTag, Item, ItemBorrow};

struct Shelf;

bindings::export!(Shelf with_types_in bindings);

thread_local! {
    static LIVE: Cell<u32> = const { Cell::new(0) };
    static SUM: Cell<u32> = const { Cell::new(0) };
}

struct Labelled(RefCell<String>);

impl Labelled {
    fn of(label: String) -> Self {
        LIVE.set(LIVE.get() + 1);
        Self(RefCell::new(label))
    }
}

impl Drop for Labelled {
    fn drop(&mut self) {
        LIVE.set(LIVE.get() - 1);
        if *self.0.borrow() == "trap when dropped" {
            core::arch::wasm32::unreachable();
        }
    }
}

impl GuestItem for Labelled {
    fn new(label: String) -> Self {
        Self::of(label)
    }

    fn label(&self) -> String {
        self.0.borrow().clone()
    }

    fn rename(&self, label: String) {
        self.0.replace(label);
    }

    fn joined(first: Item, second: Item) -> Item {
        let label = first.get::<Self>().label() + &second.get::<Self>().label();
        Item::new(Self::of(label))
    }
}

struct Tagged(String);

impl GuestTag for Tagged {
    fn new(name: String) -> Self {
        Self(name)
    }

    fn name(&self) -> String {
        self.0.clone()
    }
}

impl Guest for Shelf {
    type Item = Labelled;
    type Tag = Tagged;

    fn open(label: String) -> Result<Option<Item>, String> {
        match label.as_str() {
            "" => Ok(None),
            "refused" => Err("refused, as asked".to_owned()),
            _ => Ok(Some(Item::new(Labelled::of(label)))),
        }
    }

    fn longer(first: ItemBorrow<'_>, second: ItemBorrow<'_>) -> String {
        let (first, second) = (first.get::<Labelled>().label(), second.get::<Labelled>().label());
        if first.len() > second.len() { first } else { second }
    }

    fn live() -> u32 {
        LIVE.get()
    }

    fn add(number: u32) -> u32 {
        SUM.set(SUM.get() + number);
        SUM.get()
    }

    fn echo(data: Vec<u8>) -> Vec<u8> {
        data
    }

    fn wide(
        a: u8,
        b: u64,
        c: String,
        d: String,
        e: String,
        f: String,
        g: String,
        h: String,
        i: String,
        j: f32,
    ) -> String {
        format!("{a} {b} {c}{d}{e}{f}{g}{h}{i} {j}")
    }

    #[expect(clippy::disallowed_methods, reason = "a call that takes its time")]
    fn act(how: String) -> Result<String, String> {
        match how.as_str() {
            "answer" => Ok("answered".to_owned()),
            "trap" => core::arch::wasm32::unreachable(),
            "loop" => loop {
                black_box(&how);
            },
            "wait" => {
                std::thread::sleep(std::time::Duration::from_millis(300));
                Ok("waited".to_owned())
            }
            "grow" => {
                let mut kept = Vec::new();
                loop {
                    kept.push(black_box(vec![1_u8; 1 << 20]));
                }
            }
            "read" => fs::read_to_string("/etc/hostname").map_err(|error| format!("read: {error}")),
            "connect" => match TcpStream::connect("127.0.0.1:1") {
                Ok(_) => Ok("connected".to_owned()),
                Err(error) => Err(format!("connect: {error}")),
            },
            "environment" => Ok(format!("{:?}", std::env::vars().collect::<Vec<_>>())),
            _ => Err(format!("no `{how}` here")),
        }
    }
}
