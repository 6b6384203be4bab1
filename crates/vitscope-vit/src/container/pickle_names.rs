//! The names that a pickle of weights may mention, and what each stands for.
//!
//! A pickle is a program that calls what it names. Here nothing is called: every name on this list
//! has a fixed meaning that the reader carries out itself. A class of another library or of the
//! training's own code may be named, too, since trainings keep settings, meters and whole modules
//! beside their weights: an instance is its attributes and nothing else. Every other name is an
//! error.

use super::Dtype;

/// What an allowed name stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Name {
    /// A dictionary type.
    Dict,
    /// A list-like type whose argument is its content.
    Sequence,
    /// A storage of one element type.
    Storage(Dtype),
    /// A function that makes a tensor of a storage.
    RebuildTensor,
    /// A function that wraps a tensor as a parameter.
    RebuildParameter,
    /// `copyreg._reconstructor`, with which old pickles make objects.
    Reconstructor,
    /// A class whose instances are only their attributes.
    Plain,
    /// Something harmless whose value no reader needs.
    Ignored,
    /// A class of another library, whose instances are only their attributes.
    Class,
}

/// Packages of Python, PyTorch and NumPy, which hold what could act on the machine.
const SYSTEM: &[&str] = &[
    "",
    "__torch__",
    "_codecs",
    "_io",
    "_pickle",
    "_posixsubprocess",
    "_thread",
    "ast",
    "asyncio",
    "atexit",
    "bdb",
    "builtins",
    "__builtin__",
    "cProfile",
    "code",
    "codecs",
    "codeop",
    "collections",
    "commands",
    "concurrent",
    "copyreg",
    "copy_reg",
    "ctypes",
    "dill",
    "cloudpickle",
    "distutils",
    "doctest",
    "ensurepip",
    "fcntl",
    "ftplib",
    "functools",
    "gc",
    "glob",
    "http",
    "idlelib",
    "imp",
    "importlib",
    "inspect",
    "io",
    "itertools",
    "joblib",
    "lib2to3",
    "linecache",
    "logging",
    "marshal",
    "mmap",
    "multiprocessing",
    "nt",
    "ntpath",
    "numpy",
    "operator",
    "os",
    "pandas",
    "pathlib",
    "pdb",
    "pickle",
    "pip",
    "pkgutil",
    "platform",
    "posix",
    "posixpath",
    "profile",
    "pty",
    "pydoc",
    "requests",
    "resource",
    "runpy",
    "scipy",
    "setuptools",
    "shelve",
    "shutil",
    "signal",
    "site",
    "smtplib",
    "socket",
    "sqlite3",
    "ssl",
    "string",
    "subprocess",
    "sys",
    "sysconfig",
    "tarfile",
    "telnetlib",
    "tempfile",
    "test",
    "threading",
    "timeit",
    "tkinter",
    "torch",
    "trace",
    "traceback",
    "types",
    "typing",
    "unittest",
    "urllib",
    "uuid",
    "venv",
    "warnings",
    "weakref",
    "webbrowser",
    "xml",
    "xmlrpc",
    "zipfile",
    "zipimport",
];

/// Whether a name is a class outside those packages, or one of PyTorch's modules or optimizers.
pub(super) fn is_class(module: &str, name: &str) -> bool {
    let torch = ["torch.nn.", "torch.optim."];
    let outside = !SYSTEM.contains(&module.split('.').next().unwrap_or_default());
    (outside || torch.iter().any(|start| module.starts_with(start)))
        && name.starts_with(|c: char| c.is_uppercase())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The meaning of a name, or `None` for one that is not allowed.
///
/// Classes that a TorchScript archive defines in itself are allowed only with `script`.
pub(super) fn meaning(module: &str, name: &str, script: bool) -> Option<Name> {
    if script && (module == "__torch__" || module.starts_with("__torch__.")) {
        return Some(Name::Plain);
    }
    Some(match (module, name) {
        ("collections", "OrderedDict" | "defaultdict" | "Counter")
        | ("__builtin__" | "builtins", "dict") => Name::Dict,
        ("torch", "Size")
        | ("__builtin__" | "builtins", "list" | "tuple" | "set" | "frozenset") => Name::Sequence,
        ("torch", storage) if storage.ends_with("Storage") => Name::Storage(match storage {
            "DoubleStorage" => Dtype::F64,
            "FloatStorage" => Dtype::F32,
            "HalfStorage" => Dtype::F16,
            "BFloat16Storage" => Dtype::Bf16,
            "LongStorage" => Dtype::Other("i64", 8),
            "IntStorage" => Dtype::Other("i32", 4),
            "ShortStorage" => Dtype::Other("i16", 2),
            "CharStorage" => Dtype::Other("i8", 1),
            "ByteStorage" => Dtype::Other("u8", 1),
            "BoolStorage" => Dtype::Other("bool", 1),
            "ComplexHalfStorage" => Dtype::Other("complex32", 4),
            "ComplexFloatStorage" => Dtype::Other("complex64", 8),
            "ComplexDoubleStorage" => Dtype::Other("complex128", 16),
            _ => return None,
        }),
        ("torch.storage", "UntypedStorage") => Name::Storage(Dtype::Other("untyped bytes", 1)),
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Name::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Name::RebuildParameter,
        ("copy_reg" | "copyreg", "_reconstructor") => Name::Reconstructor,
        ("argparse", "Namespace")
        | ("types", "SimpleNamespace")
        | ("__builtin__" | "builtins", "object") => Name::Plain,
        ("torch", "device" | "dtype")
        | (
            "torch",
            "float32" | "float64" | "float16" | "bfloat16" | "float" | "double" | "half" | "int64"
            | "int32" | "uint8" | "bool" | "strided" | "contiguous_format",
        )
        | ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar" | "_reconstruct")
        | ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer")
        | ("numpy", "dtype" | "ndarray")
        | ("numpy.dtypes", "Float64DType" | "Float32DType" | "Int64DType")
        | ("_codecs", "encode")
        | (
            "torch.jit._pickle",
            "build_intlist" | "build_tensorlist" | "build_doublelist" | "build_boollist"
            | "restore_type_tag",
        )
        | ("pathlib", "Path" | "PosixPath" | "PurePosixPath" | "WindowsPath")
        | ("datetime", "datetime" | "timedelta" | "date")
        | (
            "__builtin__" | "builtins",
            "int" | "long" | "float" | "bool" | "str" | "unicode" | "bytes" | "complex" | "slice",
        ) => Name::Ignored,
        _ => return None,
    })
}
