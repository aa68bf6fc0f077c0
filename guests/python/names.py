"""What the names of a session stand for, told so that two states of it can be compared. It runs in a copy of the session that is
thrown away, and gets nothing from the files of the sandbox: what it imports is part of the interpreter.

Content is looked at, not asked: digests follow the memory of objects. Only what a name is shown as may run code of the session, its
`__repr__`, and for so many steps only; with the word `plain` not even that.
"""

import sys
import types

from _json import encode_basestring_ascii as _quoted

try:
    from _blake2 import blake2b as _hash
except ImportError:
    from _sha2 import sha256 as _hash

_NAMES = 1_000
_NAME_CHARACTERS = 200
_TEXT_CHARACTERS = 160
# Objects and bytes that are looked at: of one name, and of all.
_OBJECTS, _OBJECTS_ALL = 50_000, 200_000
_BYTES, _BYTES_ALL = 8 << 20, 64 << 20
# Steps of code that showing may run: one name, and all.
_STEPS, _STEPS_ALL = 50_000, 500_000
_DEPTH = 200

_class_name = type.__dict__["__qualname__"].__get__
_class_module = type.__dict__["__module__"].__get__
_class_names = type.__dict__["__dict__"].__get__
_class_line = type.__dict__["__mro__"].__get__
_member = types.MemberDescriptorType
_function = types.FunctionType
_atoms = (type(None), bool, type(Ellipsis), type(NotImplemented))
_bases = (dict, list, tuple, set, frozenset, str, bytes, bytearray, int, float, complex)


class _Enough(BaseException):
    """So much was looked at, or ran."""


class _Budget:
    objects, bytes, steps = _OBJECTS_ALL, _BYTES_ALL, _STEPS_ALL


def _limited(work, *words):
    """Calls what may run code of the session, for some steps only."""
    left = min(_STEPS, _Budget.steps)
    begun = left

    def count(frame, event, argument):
        nonlocal left
        frame.f_trace_opcodes = True
        left -= 1
        if left < 0:
            raise _Enough
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        return work(*words)
    finally:
        sys.settrace(before)
        _Budget.steps -= begun - max(left, 0)


def _is_ours(function):
    """Whether a function is code of the session itself, not of a library or the interpreter."""
    return type(function) is _function and function.__globals__.get("__name__") == "__main__"


def _found(kind, name):
    for base in _class_line(kind):
        names = _class_names(base)
        if name in names:
            return names[name]
    return None


def _has_a_base_of_c(kind):
    """Whether it keeps something that is neither in its names and slots nor in a plain built-in base."""
    marks = {"__firstlineno__", "__static_attributes__", "__slots__", "__weakref__"}
    bases = (base for base in _class_line(kind) if base is not object and base not in _bases)
    return not all(marks & _class_names(base).keys() for base in bases)


def _type_name(kind):
    name, module = _class_name(kind), None
    try:
        module = _class_module(kind)
    except Exception:
        pass
    if type(module) is not str or module in ("builtins", "__main__"):
        return name
    return f"{module}.{name}"


class _Look:
    """A walk over what one name stands for."""

    def __init__(self):
        self.hash = _hash()
        self.seen = {}
        self.kept = []
        self.whole = True
        self.objects = min(_OBJECTS, _Budget.objects)
        self.bytes = min(_BYTES, _Budget.bytes)
        self.depth = 0

    def digest(self, value):
        try:
            self.walk(value)
        except (_Enough, RecursionError, MemoryError):
            self.whole = False
        return self.hash.hexdigest()[:32]

    def tell(self, tag, content=b""):
        if type(content) is not bytes:
            content = content.encode("utf-8", "surrogatepass")
        if len(content) > self.bytes:
            # The two ends say most of what they can.
            self.whole = False
            half = self.bytes // 2
            length = len(content)
            content = content[:half] + content[length - half :]
            self.hash.update(b"%d cut " % length)
        self.bytes -= len(content)
        _Budget.bytes -= len(content)
        self.hash.update(b"%s %d:" % (tag.encode(), len(content)))
        self.hash.update(content)

    def walk(self, value):
        self.objects -= 1
        _Budget.objects -= 1
        if self.objects < 0:
            raise _Enough
        kind = type(value)
        if kind in _atoms:
            return self.tell("atom", repr(value))
        if kind in (str, bytes, bytearray, int, float, complex):
            return self.base(kind, value)
        known = self.seen.get(id(value))
        if known is not None:
            return self.tell("again", str(known))
        self.seen[id(value)] = len(self.seen)
        # A number of an object is its own only while it is there.
        self.kept.append(value)
        if self.depth == _DEPTH:
            raise _Enough
        self.depth += 1
        self.inner(kind, value)
        self.depth -= 1

    def base(self, kind, value):
        """Content that a built-in type keeps itself."""
        if kind is str:
            self.tell("str", "".join([value]))
        elif kind in (bytes, bytearray):
            self.tell(kind.__name__, memoryview(value).tobytes())
        elif kind is int:
            bits = int.bit_length(value)
            if bits // 8 > self.bytes:
                self.whole = False
                return self.tell("int", f"{bits} bits")
            self.tell("int", int.to_bytes(value, bits // 8 + 1, "little", signed=True))
        elif kind is float:
            self.tell("float", float.hex(value))
        elif kind is complex:
            self.tell("complex", complex.__repr__(value))
        elif kind is dict:
            self.tell("dict", str(dict.__len__(value)))
            for key, item in dict.items(value):
                self.walk(key)
                self.walk(item)
        elif kind in (set, frozenset):
            self.tell("set", str(kind.__len__(value)))
            parts = []
            for item in kind.__iter__(value):
                # In an order of their own: theirs says where they lie.
                whole, self.hash = self.hash, _hash()
                try:
                    self.walk(item)
                    parts.append(self.hash.digest())
                finally:
                    self.hash = whole
            self.tell("items", b"".join(sorted(parts)))
        else:
            self.tell(kind.__name__, str(kind.__len__(value)))
            for item in kind.__iter__(value):
                self.walk(item)

    def all(self, tag, *values):
        self.tell(tag)
        for value in values:
            self.walk(value)

    def inner(self, kind, value):
        if kind in _bases:
            return self.base(kind, value)
        if kind is types.ModuleType:
            return self.tell("module", str(value.__dict__.get("__name__")))
        if issubclass(kind, type):
            return self.a_class(value)
        if kind is _function:
            self.tell("function", f"{value.__module__} {value.__qualname__}")
            if _is_ours(value):
                self.all("made of", value.__code__, value.__defaults__, value.__kwdefaults__, value.__closure__, value.__dict__)
            return None
        if kind is types.CodeType:
            names = value.co_names, value.co_varnames, value.co_freevars, value.co_name, value.co_flags
            return self.all("code", value.co_code, value.co_consts, *names)
        if kind is types.CellType:
            try:
                return self.all("cell", value.cell_contents)
            except ValueError:
                return self.tell("empty cell")
        if kind is types.MethodType:
            return self.all("method", value.__func__, value.__self__)
        if kind is types.BuiltinFunctionType:
            self.tell("built in", str(value.__qualname__))
            return None if type(value.__self__) is types.ModuleType else self.walk(value.__self__)
        if kind is property:
            return self.all("property", value.fget, value.fset, value.fdel)
        if kind in (classmethod, staticmethod):
            return self.all(kind.__name__, value.__func__)
        if kind in (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType):
            return self.suspended(value)
        self.tell("of", _type_name(kind))
        told = self.instance(kind, value) | self.buffer(kind, value)
        if not told or _has_a_base_of_c(kind):
            told |= self.reduced(kind, value)
        if not told:
            # There is nothing to be seen but which it is.
            self.tell("at", str(id(value)))
        return None

    def a_class(self, value):
        self.tell("class", _type_name(value))
        if _class_module(value) == "__main__":
            self.all("of", *value.__bases__) if type(value) is type else None
            skipped = ("__dict__", "__weakref__", "__module__", "__firstlineno__", "__static_attributes__")
            for name, item in _class_names(value).items():
                if name not in skipped:
                    self.tell("has", str(name))
                    self.walk(item)

    def suspended(self, value):
        self.tell("suspended", str(value.__qualname__))
        frame = None
        for name in ("gi_frame", "cr_frame", "ag_frame"):
            frame = frame or getattr(value, name, None)
        if frame is not None:
            self.tell("at", str(frame.f_lasti))
            self.walk(dict(frame.f_locals))

    def instance(self, kind, value):
        """What an instance of a class keeps: its names, its slots, and what a built-in base keeps."""
        told = False
        for base in _bases:
            if issubclass(kind, base):
                self.base(base, value)
                told = True
                break
        for base in _class_line(kind):
            for name, slot in _class_names(base).items():
                if name == "__dict__" and type(slot) is types.GetSetDescriptorType:
                    self.walk(slot.__get__(value))
                    told = True
                elif type(slot) is _member and slot.__objclass__ is base and "__slots__" in _class_names(base):
                    told = True
                    try:
                        item = slot.__get__(value)
                    except AttributeError:
                        continue
                    self.tell("slot", name)
                    self.walk(item)
        return told

    def buffer(self, kind, value):
        if type(_found(kind, "__buffer__")) is _function:
            return False
        try:
            view = memoryview(value)
        except Exception:
            return False
        with view:
            if "O" in view.format:
                return False
            self.tell("view", f"{view.format} {view.shape}")
            if view.nbytes > self.bytes:
                self.whole = False
                if not view.c_contiguous:
                    return True
                self.tell("bytes", view.cast("B")[: self.bytes // 2].tobytes())
            else:
                self.tell("bytes", view.tobytes())
        return True

    def reduced(self, kind, value):
        """What a type that is no code of the session says an equal one is made from."""
        for name in ("__reduce_ex__", "__reduce__", "__getstate__", "__getattribute__", "__getattr__", "__getnewargs__"):
            found = _found(kind, name)
            if type(found) is _function and (_is_ours(found) or sys.argv[1] == "plain"):
                return False
        try:
            parts = _limited(value.__reduce_ex__, 4)
        except (Exception, _Enough):
            return False
        if type(parts) is not tuple:
            self.tell("named", str(parts))
            return True
        for part in parts:
            if type(part).__name__.endswith("iterator"):
                part = list(part)
                self.kept.append(part)
            self.walk(part)
        return True


class _Text:
    """What a name is shown as."""

    def __init__(self):
        self.parts = []
        self.left = _TEXT_CHARACTERS

    def put(self, text):
        if self.left < len(text):
            self.parts.append(text[: self.left] + "...")
            self.left = 0
            raise _Enough
        self.left -= len(text)
        self.parts.append(text)

    def show(self, value):
        try:
            self.value(value, 0)
        except (_Enough, RecursionError):
            pass
        return "".join(self.parts)

    def value(self, value, depth):
        kind = type(value)
        if kind is int and value.bit_length() > 4 * _TEXT_CHARACTERS:
            self.put(f"<int of {value.bit_length()} bits>")
        elif kind in (int, float, complex) or kind in _atoms:
            self.put(repr(value))
        elif kind in (str, bytes, bytearray):
            text = repr(value[: self.left + 1])
            if len(value) > self.left:
                self.put(text[:-1])
                raise _Enough
            self.put(text)
        elif kind in (list, tuple, dict, set, frozenset):
            self.items(kind, value, depth)
        elif kind is types.ModuleType:
            self.put(str(value.__dict__.get("__name__")))
        elif issubclass(kind, type):
            self.put(_type_name(value))
        elif kind is _function:
            code = value.__code__
            words = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            self.put(f"{value.__qualname__}({', '.join(words)})")
        else:
            self.other(kind, value)

    def items(self, kind, value, depth):
        begin, end = {list: "[]", tuple: "()", dict: "{}", set: "{}", frozenset: ("frozenset({", "})")}[kind]
        if depth == 4:
            return self.put(begin + "..." + end)
        if kind is set and not value:
            return self.put("set()")
        self.put(begin)
        for place, item in enumerate(dict.items(value) if kind is dict else value):
            if place:
                self.put(", ")
            if kind is dict:
                self.value(item[0], depth + 1)
                self.put(": ")
                item = item[1]
            self.value(item, depth + 1)
        if kind is tuple and len(value) == 1:
            self.put(",")
        return self.put(end)

    def other(self, kind, value):
        shown = f"<{_type_name(kind)}>"
        if sys.argv[1] != "plain":
            try:
                shown = "".join([_limited(repr, value)])
                shown = " ".join(shown[: 4 * _TEXT_CHARACTERS].split())
            except (Exception, _Enough):
                pass
        self.put(shown)


def _length(value):
    kind = type(value)
    for base in (dict, list, tuple, set, frozenset, str, bytes, bytearray):
        if issubclass(kind, base):
            return base.__len__(value)
    found = _found(kind, "__len__")
    if found is None or (type(found) is _function and (_is_ours(found) or sys.argv[1] == "plain")):
        return None
    try:
        length = _limited(len, value)
    except (Exception, _Enough):
        return None
    return length if type(length) is int else None


def _told(name, value):
    look = _Look()
    digest = look.digest(value)
    kind = _type_name(type(value))[:_NAME_CHARACTERS]
    text = _Text().show(value)
    length = _length(value)
    words = [_quoted(name), _quoted(kind), _quoted(text), "null" if length is None else str(length)]
    return "[" + ", ".join([*words, _quoted(digest), "true" if look.whole else "false"]) + "]"


def _main():
    import _sandglass

    session = _sandglass._session
    names = {} if session is None else dict(session.main.__dict__)
    shown = [name for name in names if type(name) is str and name != "_" and not (name[:2] == name[-2:] == "__")]
    shown = sorted(name for name in shown if len(name) <= _NAME_CHARACTERS)
    told = ",\n".join(_told(name, names[name]) for name in shown[:_NAMES])
    _sandglass._ask("result", f'{{"total": {len(shown)}, "names": [{told}]}}'.encode("utf-8", "replace"))


_main()
