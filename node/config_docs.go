package node

import (
	"bytes"
	"fmt"
	"strings"
)

const docsHead = `# Configuration

Nothing needs to be configured. Each option is a flag, an environment variable and a key of a YAML file (` + "`--config FILE`" + ` or
` + "`BGRID_CONFIG`" + `), all with the same name: ` + "`--cas-max-size`" + `, ` + "`BGRID_CAS_MAX_SIZE`" + `, ` + "`cas-max-size:`" + `. A flag wins over the environment, the
environment over the file, the file over the default. Unknown keys and unknown ` + "`BGRID_`" + ` variables are errors.

- ` + "`bgrid-node --check-config`" + ` only checks; exit code 2 and one line on stderr say what is wrong.
- ` + "`bgrid-node --print-config`" + ` prints each value with its source. The output is a configuration file itself.

Sizes: ` + "`512MiB`, `20GB`, `10%` (of the disk), `10% max 100GiB`" + `. Durations: ` + "`90s`, `30m`, `3h`" + `; a plain number is seconds.
Lists: the flag several times, commas, or a YAML list; ` + "`default`" + ` in a list stands for the default's items.

This page is generated from the options table (` + "`go test ./node -run Docs -update`" + `).
`

// Docs returns docs/configuration.md.
func Docs() []byte {
	var b bytes.Buffer
	b.WriteString(docsHead)
	group := ""
	for _, o := range append(Table(), WorkerTable()...) {
		if o.Group != group {
			group = o.Group
			fmt.Fprintf(&b, "\n## %s\n", group)
			if group == groupWorker {
				b.WriteString("Of `bgrid-node worker`, which runs actions for a server on another machine; see [workers.md](workers.md).\n\n")
			}
			b.WriteString("| option | environment | default | what it does |\n|---|---|---|---|\n")
		}
		name := "--" + o.Name
		if o.Arg != "" {
			name += " " + o.Arg
		}
		def := o.Default
		if o.List {
			def = strings.ReplaceAll(def, ",", ", ")
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", name, o.Env(), def, o.Help)
	}
	return b.Bytes()
}
