package node

import (
	"fmt"
	"os"
	"strings"
)

// Sources is where configuration comes from. Flags win over the environment,
// the environment over the file, the file over the defaults.
type Sources struct {
	Flags   map[string][]string // values by option name, only those given
	File    string              // path of the YAML file; empty: BGRID_CONFIG, or none
	Machine Machine
	Worker  bool // of a remote worker: WorkerTable
}

// Loaded is a configuration that knows where each value came from.
type Loaded struct {
	Config  Config
	table   []Option
	sources map[string]string // by option name
}

// Load reads and validates the configuration. Its errors name the source and the
// option, and for an unknown key or variable the nearest known one.
func Load(s Sources) (*Loaded, error) {
	layers, err := readLayers(s)
	if err != nil {
		return nil, err
	}
	l := &Loaded{sources: map[string]string{}}
	table, validate := Table, l.Config.Validate
	if s.Worker {
		table, validate = WorkerTable, l.Config.validateWorker
	}
	l.table = table()
	for _, o := range l.table {
		if err := l.fill(&o, layers, s.Machine); err != nil {
			return nil, err
		}
	}
	if err := validate(); err != nil {
		return nil, err
	}
	return l, nil
}

// layer is one source: the values by option name, and how a value there is
// called in messages.
type layer struct {
	values map[string][]string
	label  func(name string) string
}

// readLayers returns the sources, the strongest first.
func readLayers(s Sources) ([]layer, error) {
	env, err := readEnv(s.Machine.Environ)
	if err != nil {
		return nil, err
	}
	layers := []layer{
		{s.Flags, func(name string) string { return "--" + name }},
		{env, envName},
	}
	path := s.File
	if path == "" {
		path = s.Machine.getenv(envName("config"))
	}
	if path == "" {
		return layers, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	file, lines, err := parseFile(path, data)
	if err != nil {
		return nil, err
	}
	return append(layers, layer{file, func(name string) string { return fmt.Sprintf("%s:%d", path, lines[name]) }}), nil
}

// fill sets one option from the strongest source that has it.
func (l *Loaded) fill(o *Option, layers []layer, m Machine) error {
	for _, from := range layers {
		values, ok := from.values[o.Name]
		if !ok {
			continue
		}
		label := from.label(o.Name)
		if err := o.set(&l.Config, values); err != nil {
			if strings.HasSuffix(label, o.Name) {
				return fmt.Errorf("%s: %w", label, err)
			}
			return fmt.Errorf("%s: %s: %w", label, o.Name, err)
		}
		l.sources[o.Name] = label
		return nil
	}
	value := o.Default
	if o.initial != nil {
		value = o.initial(&l.Config, m)
	}
	if err := o.set(&l.Config, []string{value}); err != nil {
		return fmt.Errorf("no default for --%s on this machine: set it", o.Name)
	}
	l.sources[o.Name] = "default"
	return nil
}

// Defaults returns the configuration without flags, environment or file.
func Defaults(m Machine) (Config, error) {
	m.Environ = withoutOptions(m.Environ)
	l, err := Load(Sources{Machine: m})
	if err != nil {
		return Config{}, err
	}
	return l.Config, nil
}

func withoutOptions(environ []string) []string {
	var kept []string
	for _, kv := range environ {
		if !strings.HasPrefix(kv, envPrefix) {
			kept = append(kept, kv)
		}
	}
	return kept
}
