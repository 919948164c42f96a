//! What the author writes between the braces of `generate!` and `export!`.

use proc_macro2::{Span, TokenStream};
use syn::{
    Ident, LitInt, LitStr, Path, Token, Type, braced, bracketed, parenthesized,
    parse::{Parse, ParseStream, Parser},
    punctuated::Punctuated,
};

/// How handlers take `list<u8>`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByteLists {
    /// As `Bytes`, sharing the argument buffer.
    Owned,
    /// As `&[u8]`, borrowed from it.
    Borrowed,
}

/// The options of `generate!`.
pub(crate) struct Generate {
    pub(crate) paths: Vec<LitStr>,
    pub(crate) inline: Option<LitStr>,
    pub(crate) world: Option<LitStr>,
    pub(crate) bytes: ByteLists,
    pub(crate) resources: Vec<(LitStr, Type)>,
    pub(crate) encoded: Vec<LitStr>,
}

/// The options of `export!`.
pub(crate) struct Export {
    pub(crate) name: LitStr,
    pub(crate) extension: Type,
    pub(crate) world: Path,
    pub(crate) aliases: Vec<(LitStr, LitStr)>,
    pub(crate) worker_threads: Option<LitInt>,
    pub(crate) allocator: Option<Path>,
}

pub(crate) fn parse_generate(tokens: TokenStream) -> syn::Result<Generate> {
    generate_options.parse2(tokens)
}

pub(crate) fn parse_export(tokens: TokenStream) -> syn::Result<Export> {
    export_options.parse2(tokens)
}

fn generate_options(input: ParseStream<'_>) -> syn::Result<Generate> {
    let content;
    braced!(content in input);
    let mut options = Generate {
        paths: Vec::new(),
        inline: None,
        world: None,
        bytes: ByteLists::Borrowed,
        resources: Vec::new(),
        encoded: Vec::new(),
    };
    each_key(&content, |key, input| {
        match key.to_string().as_str() {
            "path" => options.paths = one_or_list(input)?,
            "inline" => options.inline = Some(input.parse()?),
            "world" => options.world = Some(input.parse()?),
            "bytes" => options.bytes = byte_lists(input)?,
            "resources" => options.resources = map(input)?,
            "encoded" => options.encoded = list(input)?,
            _ => return unknown(key, "path, inline, world, bytes, resources, encoded"),
        }
        Ok(())
    })?;
    if options.paths.is_empty() && options.inline.is_none() {
        options.paths.push(LitStr::new("wit", Span::call_site()));
    }
    Ok(options)
}

fn export_options(input: ParseStream<'_>) -> syn::Result<Export> {
    let (mut name, mut extension, mut world) = (None, None, None);
    let (mut aliases, mut worker_threads, mut allocator) = (Vec::new(), None, None);
    each_key(input, |key, input| {
        match key.to_string().as_str() {
            "name" => name = Some(input.parse::<LitStr>()?),
            "extension" => extension = Some(input.parse()?),
            "world" => world = Some(input.parse()?),
            "aliases" => aliases = list::<Alias>(input)?.into_iter().map(|a| (a.0, a.1)).collect(),
            "worker_threads" => worker_threads = Some(input.parse()?),
            "allocator" => allocator = Some(input.parse()?),
            _ => return unknown(key, "name, extension, world, aliases, worker_threads, allocator"),
        }
        Ok(())
    })?;
    let missing =
        |what: &str| syn::Error::new(Span::call_site(), format!("`export!` needs `{what}: ...`"));
    let name = name.ok_or_else(|| missing("name"))?;
    let text = name.value();
    let fits = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !fits {
        return Err(syn::Error::new(
            name.span(),
            "an extension's name is lower-case letters, digits and `-`, beginning with a letter",
        ));
    }
    Ok(Export {
        name,
        extension: extension.ok_or_else(|| missing("extension"))?,
        world: world.ok_or_else(|| missing("world"))?,
        aliases,
        worker_threads,
        allocator,
    })
}

/// `(alias, interface)`.
struct Alias(LitStr, LitStr);

impl Parse for Alias {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let content;
        parenthesized!(content in input);
        let alias = content.parse()?;
        content.parse::<Token![,]>()?;
        Ok(Self(alias, content.parse()?))
    }
}

fn each_key(
    input: ParseStream<'_>,
    mut read: impl FnMut(&Ident, ParseStream<'_>) -> syn::Result<()>,
) -> syn::Result<()> {
    while !input.is_empty() {
        let key: Ident = input.parse()?;
        input.parse::<Token![:]>()?;
        read(&key, input)?;
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(())
}

fn unknown(key: &Ident, known: &str) -> syn::Result<()> {
    Err(syn::Error::new(key.span(), format!("no option `{key}`; there are {known}")))
}

fn list<T: Parse>(input: ParseStream<'_>) -> syn::Result<Vec<T>> {
    let content;
    bracketed!(content in input);
    Ok(Punctuated::<T, Token![,]>::parse_terminated(&content)?.into_iter().collect())
}

fn one_or_list(input: ParseStream<'_>) -> syn::Result<Vec<LitStr>> {
    if input.peek(LitStr) { Ok(vec![input.parse()?]) } else { list(input) }
}

fn map(input: ParseStream<'_>) -> syn::Result<Vec<(LitStr, Type)>> {
    let content;
    braced!(content in input);
    let mut entries = Vec::new();
    while !content.is_empty() {
        let key = content.parse()?;
        content.parse::<Token![:]>()?;
        entries.push((key, content.parse()?));
        if !content.is_empty() {
            content.parse::<Token![,]>()?;
        }
    }
    Ok(entries)
}

fn byte_lists(input: ParseStream<'_>) -> syn::Result<ByteLists> {
    let text: LitStr = input.parse()?;
    match text.value().as_str() {
        "owned" => Ok(ByteLists::Owned),
        "borrowed" => Ok(ByteLists::Borrowed),
        _ => Err(syn::Error::new(text.span(), "expected \"owned\" or \"borrowed\"")),
    }
}
