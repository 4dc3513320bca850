package admin

import "strings"

// options holds the options of one line.
type options map[string][]string

func (o options) has(name string) bool { return len(o[name]) > 0 }

// last gives the value given last, "" without any.
func (o options) last(name string) string {
	if v := o[name]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// Options takes the options out of the arguments. A known name that ends in =
// takes a value, as the next word or behind an equals sign; -- ends them.
func (c *Call) options(known ...string) (options, error) {
	found := options{}
	var rest []string
	for len(c.Args) > 0 {
		a := c.Take()
		if a == "--" {
			rest = append(rest, c.Args...)
			break
		}
		if len(a) < 2 || a[0] != '-' || isNumber(a) {
			rest = append(rest, a)
			continue
		}
		name, value, inline := strings.Cut(a, "=")
		takes, ok := lookupOption(known, name)
		switch {
		case !ok:
			return nil, Usage("unknown option %s", Clip(name, 40))
		case !takes && inline:
			return nil, Usage("option %s takes no value", name)
		case takes && !inline:
			if len(c.Args) == 0 {
				return nil, Usage("option %s needs a value", name)
			}
			value = c.Take()
		}
		found[name] = append(found[name], value)
	}
	c.Args = rest
	return found, nil
}

func lookupOption(known []string, name string) (takes, ok bool) {
	for _, k := range known {
		if k == name {
			return false, true
		}
		if k == name+"=" {
			return true, true
		}
	}
	return false, false
}

// isNumber lets -1 be an argument.
func isNumber(s string) bool {
	return strings.Trim(s[1:], "0123456789") == ""
}
