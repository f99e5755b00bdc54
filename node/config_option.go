package node

import (
	"fmt"
	"strings"
)

// Option is one row of the options table: a flag --name, an environment variable
// BGRID_NAME and a key name of the configuration file.
type Option struct {
	Name    string
	Group   string
	Default string // as documentation tells it
	Arg     string // what the value is called in help
	Help    string
	Boolean bool
	List    bool // may be given several times, or separated by commas

	// initial computes the default where it depends on the machine or on options
	// above this one; nil: Default.
	initial func(c *Config, m Machine) string
	set     func(c *Config, values []string) error
	get     func(c *Config) []string
}

// Env returns the option's environment variable.
func (o *Option) Env() string { return envName(o.Name) }

func envName(name string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

const envPrefix = "BGRID_"

// scalar makes the accessors of an option with one value.
func scalar[T any](field func(*Config) *T, parse func(string) (T, error), format func(T) string) (func(*Config, []string) error, func(*Config) []string) {
	set := func(c *Config, values []string) error {
		if len(values) != 1 {
			return fmt.Errorf("want one value, have %d", len(values))
		}
		v, err := parse(values[0])
		if err != nil {
			return err
		}
		*field(c) = v
		return nil
	}
	get := func(c *Config) []string { return []string{format(*field(c))} }
	return set, get
}

// list makes the accessors of an option with any number of values. The value
// "default" stands for all that the default has.
func list[T any](field func(*Config) *[]T, defaults string, parse func(string) (T, error), format func(T) string) (func(*Config, []string) error, func(*Config) []string) {
	set := func(c *Config, values []string) error {
		var all []T
		for _, value := range expand(values, defaults) {
			v, err := parse(value)
			if err != nil {
				return err
			}
			all = append(all, v)
		}
		*field(c) = all
		return nil
	}
	get := func(c *Config) []string {
		all := []string{}
		for _, v := range *field(c) {
			all = append(all, format(v))
		}
		return all
	}
	return set, get
}

// expand splits at commas, puts the default values in place of "default", and
// drops empty and repeated values.
func expand(values []string, defaults string) []string {
	var all []string
	for _, value := range values {
		for _, item := range strings.Split(value, ",") {
			switch item = strings.TrimSpace(item); item {
			case "":
			case "default":
				for _, d := range expand([]string{defaults}, "") {
					all = appendMissing(all, d)
				}
			default:
				all = appendMissing(all, item)
			}
		}
	}
	return all
}

func parseText(s string) (string, error) {
	if s == "" {
		return "", errEmpty
	}
	return s, nil
}

func formatText(s string) string { return s }
