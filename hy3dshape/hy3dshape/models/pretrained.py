"""Models of transformers and diffusers from a folder or a hub name, whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def load_pretrained(
    kind: Any, path: str, advice: str, subfolder: str = "", allowed: tuple[str, ...] = ()
) -> Any:
    """`kind.from_pretrained(path)`: a model in float32 with every weight found, or a tokenizer.

    Args:
        kind:      the class.
        path:      folder, or hub name.
        advice:    what to do when it fails; ends the message.
        subfolder: below `path`.
        allowed:   beginnings of keys that may be missing, of parts that are not used.

    Raises:
        ValueError: naming `path`: not there, unusable, or some weights are missing in it.
    """
    looks_local = path.startswith((".", "/", "~")) or path.count("/") > 1
    if looks_local and not Path(path).exists():
        raise ValueError(f"{path}: no such folder; {advice}")
    from safetensors import SafetensorError

    failures = (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError)
    tokenizer = "Tokenizer" in kind.__name__
    options = {} if tokenizer else {"output_loading_info": True}
    try:
        with _quiet():
            found = kind.from_pretrained(path, subfolder=subfolder, **options)
    except failures as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ValueError(f"{path}: cannot load {kind.__name__}: {first}; {advice}") from error
    if tokenizer:
        return found
    model, info = found
    missing = sorted(k for k in info["missing_keys"] if not k.startswith(allowed or ("\0",)))
    if missing:
        raise ValueError(f"{path}: {len(missing)} weights are missing, as {missing[:3]}; {advice}")
    return model.float()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """transformers without bars and load reports; what matters of them is checked and raised."""
    from transformers.utils import logging as talk

    level, bars = talk.get_verbosity(), talk.is_progress_bar_enabled()
    talk.set_verbosity_error()
    talk.disable_progress_bar()
    try:
        yield
    finally:
        talk.set_verbosity(level)
        if bars:
            talk.enable_progress_bar()
