//! The layers of the configuration, merged by figment, each value with its origin.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use figment::{
    Error, Figment, Metadata, Profile, Provider, Source,
    value::{Dict, Map, Value},
};

use super::{
    file::File,
    origin::{self, KeyPath, Origin, Origins},
    setting::Setting,
    toml::{Place, Toml},
    value::Typed,
};
use crate::report::Report;

/// The file that is read where none is named.
pub const DEFAULT_FILE: &str = "backplane.toml";

/// What the configuration is made from, lowest first: built-in defaults, a file, the environment, flags.
pub struct Sources {
    /// The file, where one is named. It must exist.
    pub file: Option<PathBuf>,
    /// The environment variables, of which those that begin with `BACKPLANE_` count.
    pub variables: Vec<(OsString, OsString)>,
    /// The flags, in their order.
    pub flags: Vec<Setting>,
    /// The folder the host was started in. [`DEFAULT_FILE`] is looked for here, and relative paths that
    /// come from no file begin here.
    pub working_folder: PathBuf,
    /// The data folder where there is no file for it to stand beside; none for one in the working
    /// folder.
    pub state_folder: Option<PathBuf>,
}

impl Sources {
    /// The process's environment and working folder, with the named file and the flags.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<Setting>) -> Result<Self, Report> {
        let working_folder = std::env::current_dir().map_err(|error| {
            Report::failure("the working folder cannot be read")
                .caused_by(error)
                .help("start backplane in a folder that exists")
        })?;
        Ok(Self {
            file,
            variables: std::env::vars_os().collect(),
            flags,
            working_folder,
            state_folder: None,
        })
    }

    fn chosen_file(&self) -> Option<PathBuf> {
        self.file.clone().or_else(|| {
            let file = self.working_folder.join(DEFAULT_FILE);
            file.exists().then(|| PathBuf::from(DEFAULT_FILE))
        })
    }
}

/// The merged configuration, as yet unchecked.
pub(super) struct Merged {
    /// The file that was read.
    pub(super) file: Option<PathBuf>,
    /// The values.
    pub(super) value: Value,
    /// Where each came from.
    pub(super) origins: Origins,
}

impl Merged {
    /// Reads and merges the sources. Fails if the file cannot be read or is not TOML.
    pub(super) fn read(sources: &Sources) -> Result<Self, Report> {
        let file = sources.chosen_file();
        let toml = file.as_deref().map(|file| read_file(file, &sources.working_folder)).transpose();
        let (variables, mut reports) = Setting::from_environment(&sources.variables);
        let toml = toml.unwrap_or_else(|report| {
            reports.push(report);
            None
        });
        if let Some(report) = Report::all(reports) {
            return Err(report);
        }

        let mut figment = Figment::from(defaults(sources, file.as_deref())?);
        if let (Some(file), Some(toml)) = (&file, &toml) {
            let metadata = Metadata::from(origin::FILE, file.as_path());
            figment = figment.merge(Layer { metadata, dict: toml.dict.clone() });
        }
        for setting in variables.iter().chain(&sources.flags) {
            figment =
                if setting.appends { figment.admerge(setting) } else { figment.merge(setting) };
        }

        let dict = figment
            .data()
            .map_err(|error| {
                Report::failure("the configuration cannot be merged").caused_by(error)
            })?
            .remove(&Profile::Default)
            .unwrap_or_default();
        let value = Value::from(dict);
        let toml = file.as_deref().zip(toml.as_ref());
        let mut origins = Origins::default();
        Marker { figment: &figment, toml, origins: &mut origins }.mark(
            &value,
            &KeyPath::default(),
            true,
        );
        Ok(Self { file, value, origins })
    }
}

/// The built-in defaults; where the folders lie depends on where the file does.
fn defaults(sources: &Sources, file: Option<&Path>) -> Result<Layer, Report> {
    let beside = |file: &Path| sources.working_folder.join(file.parent().unwrap_or(Path::new("")));
    let base = file.map_or_else(|| sources.working_folder.clone(), beside);
    let data = match (&sources.state_folder, file) {
        (Some(state), None) => state.clone(),
        _ => base.join("data"),
    };
    let defaults = File {
        data: Some(Typed(data)),
        plugins: Some(Typed(base.join("plugins"))),
        ..File::default()
    };
    let value = Value::serialize(defaults)
        .map_err(|error| Report::failure("the defaults cannot be written").caused_by(error))?;
    Ok(Layer { metadata: Origin::Default.metadata(), dict: value.into_dict().unwrap_or_default() })
}

fn read_file(file: &Path, working_folder: &Path) -> Result<Toml, Report> {
    let place = file.display();
    let bytes = fs::read(working_folder.join(file)).map_err(|error| {
        Report::bad_input("the configuration file cannot be read")
            .at(place.to_string())
            .caused_by(error)
            .help("name another with --config or BACKPLANE_CONFIG")
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        Report::bad_input("the configuration file is not UTF-8")
            .at(place.to_string())
            .caused_by(error)
    })?;
    Toml::parse(&text).map_err(|(fault, Place { line, column })| {
        Report::bad_input(format_args!("the configuration file is not TOML: {fault}"))
            .at(format_args!("{place}:{line}:{column}"))
    })
}

struct Layer {
    metadata: Metadata,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

/// Finds the origin of every value.
struct Marker<'a> {
    figment: &'a Figment,
    toml: Option<(&'a Path, &'a Toml)>,
    origins: &'a mut Origins,
}

impl Marker<'_> {
    fn mark(&mut self, value: &Value, path: &KeyPath, merges: bool) {
        self.origins.insert(path.clone(), self.origin(value, path, merges));
        match value {
            Value::Dict(_, dict) => {
                dict.iter().for_each(|(key, value)| self.mark(value, &path.child(key), merges));
            }
            Value::Array(_, elements) => {
                let elements = elements.iter().enumerate();
                elements.for_each(|(index, value)| self.mark(value, &path.child(index), false));
            }
            _ => {}
        }
    }

    /// `merges` if the value is in no list: tables then merge, and are where the file has them, whoever
    /// else puts something in.
    fn origin(&self, value: &Value, path: &KeyPath, merges: bool) -> Origin {
        let in_file = || self.in_file(path);
        if let Some(place) = in_file().filter(|_| merges && value.as_dict().is_some()) {
            return place;
        }
        match self.figment.get_metadata(value.tag()) {
            Some(Metadata { source: Some(Source::Custom(name)), name: kind, .. }) => {
                match kind.as_ref() {
                    origin::ENVIRONMENT => Origin::Environment { variable: name.clone() },
                    _ => Origin::Flag { flag: name.clone() },
                }
            }
            Some(Metadata { source: Some(_), .. }) => in_file().unwrap_or(Origin::Default),
            _ => Origin::Default,
        }
    }

    fn in_file(&self, path: &KeyPath) -> Option<Origin> {
        let (file, toml) = self.toml?;
        let Place { line, column } = toml.place(path)?;
        Some(Origin::File { file: file.to_owned(), line, column })
    }
}
