package config

import (
	"os"
	"reflect"

	"lazaret/internal/disk"
	"lazaret/internal/errs"
)

// Parse reads and checks a configuration. Errors name line and element.
func Parse(b []byte) (*Config, error) {
	n, err := parseTree(b)
	if err != nil {
		return nil, err
	}
	if n.name != "config" {
		return nil, n.errorf("the root element is <config>")
	}
	n.oldBounceProfile()
	c := &Config{}
	if err := decode(n, reflect.ValueOf(c)); err != nil {
		return nil, err
	}
	c.settleProfiles()
	c.settleQuarantines()
	if err := c.check(n); err != nil {
		return nil, err
	}
	if c.Limits.Newlines == american {
		c.Limits.Newlines = "normalise"
	}
	return c, nil
}

// american is read for normalise and never written.
const american = "normalize"

// Load reads the file at path.
func Load(path string) (*Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, errs.Wrap(errs.NotFound, err, "configuration")
	}
	c, err := Parse(b)
	return c, errs.Context(err, "%s", path)
}

// header is the frame of the field (clients section 2.3).
const header = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<!DOCTYPE config SYSTEM \"config.dtd\">\n"

// Text gives the configuration as XML with comments. With masked, secrets are
// hidden, and the text cannot be loaded.
func (c *Config) Text(masked bool) []byte {
	e := encoder{mask: masked, told: map[string]bool{}}
	e.b.WriteString(header)
	e.b.WriteString("<config>\n")
	e.fields(reflect.ValueOf(c).Elem(), 1)
	e.b.WriteString("</config>\n")
	return e.b.Bytes()
}

// Clone gives a copy that shares nothing.
func (c *Config) Clone() *Config {
	v := reflect.New(reflect.TypeOf(*c))
	copyValue(v.Elem(), reflect.ValueOf(*c))
	return v.Interface().(*Config)
}

func copyValue(to, from reflect.Value) {
	switch from.Kind() {
	case reflect.Struct:
		for i := range from.NumField() {
			copyValue(to.Field(i), from.Field(i))
		}
	case reflect.Slice:
		if from.IsNil() {
			return
		}
		to.Set(reflect.MakeSlice(from.Type(), from.Len(), from.Len()))
		for i := range from.Len() {
			copyValue(to.Index(i), from.Index(i))
		}
	default:
		to.Set(from)
	}
}

// WriteFile puts data in place of the file at path, durably (disk.Replace).
func WriteFile(path string, data []byte, mode os.FileMode) error {
	return disk.Replace(disk.OS{}, path, data, mode)
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error { return disk.OS{}.SyncDir(dir) }
