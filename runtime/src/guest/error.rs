//! What can go wrong around guests, in words for the person who can do something about it.

use std::io;

/// Why a guest could not be found, installed or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuestError {
    /// No guest has this name.
    #[error("there is no guest {name:?}")]
    UnknownGuest {
        /// The name asked for.
        name: String,
    },
    /// No guest serves this tool.
    #[error("no guest serves the tool {tool:?}")]
    UnknownTool {
        /// The tool asked for.
        tool: String,
    },
    /// A sandbox wants a guest that this version does not know.
    #[error("the sandbox was made with a guest for {tool:?} that this version does not have: module {hash}")]
    UnknownPin {
        /// The tool.
        tool: String,
        /// BLAKE3 of the module, in hex.
        hash: String,
    },
    /// The guest is known but not here.
    #[error("the guest {name} is not installed: run `sandglass guests install {name}`")]
    NotInstalled {
        /// The guest.
        name: String,
    },
    /// The guest is part of the binary.
    #[error("the guest {name} is part of the program and cannot be removed")]
    BuiltIn {
        /// The guest.
        name: String,
    },
    /// The guest has no such program.
    #[error("the guest {guest} has no program {program:?}: it runs python, python3 and names like python3.14")]
    UnknownProgram {
        /// The guest.
        guest: String,
        /// What `argv[0]` said.
        program: String,
    },
    /// The guest's memory can't be kept between calls.
    #[error("the guest {guest} has no sessions")]
    NoSessions {
        /// The guest.
        guest: String,
    },
    /// An argument, a variable or the directory cannot be given to a guest.
    #[error("{what} holds a NUL byte or, in a variable's name, an equals sign")]
    InvalidArgument {
        /// Which one.
        what: &'static str,
    },
    /// The directory that a program was to start in is not there.
    #[error("there is no directory {cwd:?} in the sandbox to start in: make it first, or leave `cwd` out")]
    NoDirectory {
        /// What was asked for.
        cwd: String,
    },
    /// A package could not be fetched.
    #[error(
        "cannot download {package}: {message}; download it elsewhere and give its file with `--from FILE`, or try again"
    )]
    Download {
        /// Name and version.
        package: String,
        /// What pip said.
        message: String,
    },
    /// Bytes are not those that the lock pins.
    #[error("{what} is not what guests.lock pins: {found} where {wanted} is wanted")]
    WrongBytes {
        /// The file or member.
        what: String,
        /// What the lock says.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// A package is not the archive that it should be.
    #[error("the package cannot be unpacked: {message}")]
    Package {
        /// What is wrong.
        message: String,
    },
    /// The module could not be compiled.
    #[error("compiling failed: {message}")]
    Compile {
        /// What the compiler said.
        message: String,
    },
    /// The engine refused the module or the call.
    #[error("the engine failed: {message}")]
    Engine {
        /// What it said.
        message: String,
    },
    /// The host's disk failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The sandbox's files could not be laid out for the guest.
    #[error("the files cannot be laid out for the guest: {message}")]
    Files {
        /// What is wrong.
        message: String,
    },
}

impl GuestError {
    /// Returns what turns a system error into one that says what was being done.
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }

    pub(crate) fn engine(error: &wasmtime::Error) -> Self {
        Self::Engine { message: format!("{error:#}") }
    }

    /// Tells whether the caller asked for something that cannot be, rather than the host failing.
    #[must_use]
    pub fn is_callers(&self) -> bool {
        matches!(
            self,
            Self::UnknownGuest { .. }
                | Self::NoSessions { .. }
                | Self::UnknownTool { .. }
                | Self::BuiltIn { .. }
                | Self::UnknownProgram { .. }
                | Self::InvalidArgument { .. }
                | Self::NoDirectory { .. }
        )
    }

    /// Returns a name for programs, the same in every version.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownGuest { .. } => "unknown_guest",
            Self::UnknownTool { .. } => "unknown_tool",
            Self::UnknownPin { .. } => "unknown_pin",
            Self::NotInstalled { .. } => "guest_not_installed",
            Self::BuiltIn { .. } => "guest_built_in",
            Self::UnknownProgram { .. } => "unknown_program",
            Self::InvalidArgument { .. } => "invalid_argument",
            Self::NoDirectory { .. } => "no_directory",
            Self::Download { .. } => "guest_download_failed",
            Self::WrongBytes { .. } => "guest_wrong_bytes",
            Self::Package { .. } => "guest_bad_package",
            Self::Compile { .. } => "guest_compile_failed",
            Self::NoSessions { .. } => "no_sessions",
            Self::Engine { .. } => "guest_engine_failed",
            Self::Io { .. } => "guest_io",
            Self::Files { .. } => "guest_files",
        }
    }
}
