"""`import flatlib` is light: what a session may not need is imported when it is used."""

import subprocess
import sys

HEAVY = ["optax", "matfree", "matplotlib", "IPython", "scipy.optimize", "tqdm", "cvxpy"]


def loaded_after(statement):
    code = f"import sys, jax.numpy; before = set(sys.modules); {statement}; "
    code += "print(*sorted(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.split()


def test_import_loads_no_heavy_module():
    loaded = loaded_after("import flatlib")
    assert "flatlib.measurements" in loaded
    assert not set(HEAVY) & set(loaded)
    assert not any(name.startswith("scipy") for name in loaded)


def test_the_probe_sees_a_heavy_import():
    assert "tqdm" in loaded_after("import flatlib, tqdm")


def test_public_names_exist_and_are_documented():
    import flatlib

    assert sorted(set(flatlib.__all__)) == sorted(flatlib.__all__)
    for name in flatlib.__all__:
        assert getattr(flatlib, name).__doc__, name


def test_unknown_name_is_an_attribute_error():
    import flatlib

    assert not hasattr(flatlib, "no_such_name")
