package config

import (
	"bytes"
	"reflect"
	"strconv"
	"strings"

	"lazaret/internal/errs"
)

// The codec reads and writes structs by two tags: xml:"name" or
// xml:"container>name" for lists, and doc:"..." for the comment that stands in
// front of the element. secret:"1" marks what showconfig masks. Fields are
// string, int, int64, bool (0 or 1), structs, and slices of structs or strings.
// There is one codec for both directions, so nothing can be written that is
// not read.

// mask stands for a secret in a masked file.
const mask = "*****"

// decode fills v, a pointer to a struct, from n.
func decode(n *node, v reflect.Value) error {
	v = v.Elem()
	seen := map[string]bool{}
	if err := n.noText(); err != nil {
		return err
	}
	for _, c := range n.children {
		f, ok := fieldOf(v, c.name)
		if !ok {
			return c.errorf("unknown element <%s>; known here are %s", c.name, known(v))
		}
		container, item := tagOf(f.tag)
		repeats := f.value.Kind() == reflect.Slice && container == ""
		if seen[c.name] && !repeats {
			return c.errorf("element <%s> stands here twice", c.name)
		}
		seen[c.name] = true
		if err := decodeField(c, f, container, item); err != nil {
			return err
		}
	}
	return nil
}

// noText refuses text between the elements of a struct.
func (n *node) noText() error {
	if t := strings.TrimSpace(n.text); t != "" {
		return n.errorf("text %q between elements", clip(t))
	}
	return nil
}

func decodeField(c *node, f field, container, item string) error {
	if container == "" {
		if f.value.Kind() == reflect.Slice {
			return decodeItem(c, f.value)
		}
		return decodeValue(c, f.value)
	}
	if err := c.noText(); err != nil {
		return err
	}
	for _, e := range c.children {
		if e.name != item {
			return e.errorf("unknown element <%s>; known here is %s", e.name, item)
		}
		if err := decodeItem(e, f.value); err != nil {
			return err
		}
	}
	return nil
}

// decodeItem appends one element to a slice.
func decodeItem(n *node, slice reflect.Value) error {
	v := reflect.New(slice.Type().Elem())
	if err := decodeValue(n, v.Elem()); err != nil {
		return err
	}
	slice.Set(reflect.Append(slice, v.Elem()))
	return nil
}

func decodeValue(n *node, v reflect.Value) error {
	if v.Kind() == reflect.Struct {
		return decode(n, v.Addr())
	}
	if len(n.children) > 0 {
		return n.children[0].errorf("unknown element <%s>; <%s> holds text", n.children[0].name, n.name)
	}
	text := strings.TrimSpace(n.text)
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return n.errorf("%q is not a whole number", clip(text))
		}
		v.SetInt(i)
	case reflect.Bool:
		if text != "0" && text != "1" {
			return n.errorf("%q is neither 0 nor 1", clip(text))
		}
		v.SetBool(text == "1")
	default:
		return errs.New(errs.Internal, "configuration type %s is not supported", v.Type())
	}
	return nil
}

// field is one field of a struct with its tags.
type field struct {
	tag    string
	doc    string
	secret bool
	value  reflect.Value
}

func fields(v reflect.Value) []field {
	t := v.Type()
	all := make([]field, 0, t.NumField())
	for i := range t.NumField() {
		tag := t.Field(i).Tag.Get("xml")
		if tag == "" || tag == "-" {
			continue
		}
		tag = strings.TrimSuffix(tag, ",omitempty")
		all = append(all, field{tag: tag, doc: t.Field(i).Tag.Get("doc"), secret: t.Field(i).Tag.Get("secret") != "", value: v.Field(i)})
	}
	return all
}

// tagOf splits "container>name".
func tagOf(tag string) (container, name string) {
	if c, n, ok := strings.Cut(tag, ">"); ok {
		return c, n
	}
	return "", tag
}

func fieldOf(v reflect.Value, name string) (field, bool) {
	for _, f := range fields(v) {
		container, item := tagOf(f.tag)
		if container == name || container == "" && item == name {
			return f, true
		}
	}
	return field{}, false
}

// known lists the elements of a struct for an error.
func known(v reflect.Value) string {
	var names []string
	for _, f := range fields(v) {
		container, item := tagOf(f.tag)
		if container != "" {
			item = container
		}
		names = append(names, item)
	}
	return strings.Join(names, ", ")
}

// encoder writes with an indent of two, never with runs of blanks, since
// clients repair the traces of a pager in them (clients section 2.3).
type encoder struct {
	b    bytes.Buffer
	mask bool
	told map[string]bool // comments written already
}

func (e *encoder) fields(v reflect.Value, depth int) {
	for _, f := range fields(v) {
		container, item := tagOf(f.tag)
		switch {
		case f.value.Kind() == reflect.Slice && container != "":
			e.list(f, container, item, depth)
		case f.value.Kind() == reflect.Slice:
			for i := range f.value.Len() {
				e.element(f, item, f.value.Index(i), depth)
			}
		case f.value.IsZero() && f.value.Kind() == reflect.String:
			// an empty text is left out: that is its default
		default:
			e.element(f, item, f.value, depth)
		}
	}
}

func (e *encoder) list(f field, container, item string, depth int) {
	e.comment(f, container, depth)
	e.indent(depth)
	e.b.WriteString("<" + container + ">\n")
	for i := range f.value.Len() {
		e.element(field{secret: f.secret}, item, f.value.Index(i), depth+1)
	}
	e.indent(depth)
	e.b.WriteString("</" + container + ">\n")
}

func (e *encoder) element(f field, name string, v reflect.Value, depth int) {
	e.comment(f, name, depth)
	e.indent(depth)
	e.b.WriteString("<" + name + ">")
	switch v.Kind() {
	case reflect.Struct:
		e.b.WriteByte('\n')
		e.fields(v, depth+1)
		e.indent(depth)
	case reflect.String:
		e.text(v.String(), f.secret, depth)
	case reflect.Bool:
		e.b.WriteString(map[bool]string{true: "1", false: "0"}[v.Bool()])
	default:
		e.b.WriteString(strconv.FormatInt(v.Int(), 10))
	}
	e.b.WriteString("</" + name + ">\n")
}

// text writes a value; one of several lines stands on lines of its own.
func (e *encoder) text(s string, secret bool, depth int) {
	s = strings.TrimSpace(s) // as it is read back
	switch {
	case secret && e.mask && s != "":
		e.b.WriteString(mask)
	case strings.Contains(s, "\n"):
		e.b.WriteByte('\n')
		e.escape(s)
		e.b.WriteByte('\n')
		e.indent(depth)
	default:
		e.escape(s)
	}
}

// escape writes text as XML; what is not ASCII becomes a character reference,
// so that the declared encoding is always right. Control characters are not
// legal in XML, so none can have been read; one from elsewhere is left out.
// In a run of blanks each fifth is a reference: programs that fetch the file
// take longer runs for traces of a pager and remove them.
func (e *encoder) escape(s string) {
	blanks := 0
	for _, r := range s {
		if blanks++; r != ' ' {
			blanks = 0
		}
		switch {
		case blanks == 5:
			e.b.WriteString("&#32;")
			blanks = 0
		case r == '&':
			e.b.WriteString("&amp;")
		case r == '<':
			e.b.WriteString("&lt;")
		case r == '>':
			e.b.WriteString("&gt;")
		case r == '\n', r == '\t', r >= ' ' && r < 0x7f:
			e.b.WriteRune(r)
		case r >= 0x7f && r != 0xfffe && r != 0xffff:
			e.b.WriteString("&#x" + strconv.FormatInt(int64(r), 16) + ";")
		}
	}
}

// comment writes the explanation once a file.
func (e *encoder) comment(f field, name string, depth int) {
	if f.doc == "" || e.told[name+f.doc] {
		return
	}
	e.told[name+f.doc] = true
	if depth == 1 {
		e.b.WriteByte('\n')
	}
	e.indent(depth)
	e.b.WriteString("<!-- " + f.doc + " -->\n")
}

func (e *encoder) indent(depth int) {
	for range depth {
		e.b.WriteString("  ")
	}
}

func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
