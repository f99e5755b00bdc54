"""A rule whose output is a directory: its files are known only to the action."""

def _directory_impl(ctx):
    out = ctx.actions.declare_directory(ctx.label.name)
    ctx.actions.run_shell(
        outputs = [out],
        inputs = ctx.files.srcs,
        arguments = [out.path] + [f.path for f in ctx.files.srcs],
        command = """
            out=$1; shift
            mkdir -p "$out/deep/er" "$out/empty" &&
            for f; do tr a-z A-Z <"$f" >"$out/deep/er/$(basename "$f").upper" || exit; done &&
            printf '#!/bin/sh\\necho ran\\n' >"$out/run.sh" && chmod 755 "$out/run.sh"
        """,
    )
    return DefaultInfo(files = depset([out]))

directory = rule(
    implementation = _directory_impl,
    attrs = {"srcs": attr.label_list(allow_files = True)},
)
