package config

import (
	"slices"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/filter"
)

// TextResource is a text that filters and mail policies name: a disclaimer, or
// what a notice says (docs/filters.md).
type TextResource struct {
	Name string `xml:"text_name"`
	Text string `xml:"plain"`
	HTML string `xml:"html"`
}

// maxTexts is how many there can be.
const maxTexts = 500

// TextResource gives the text of that name as filters use it, or nil.
func (c *Config) TextResource(name string) *filter.Text {
	i := c.FindText(name)
	if i < 0 {
		return nil
	}
	return &filter.Text{Plain: c.Texts[i].Text, HTML: c.Texts[i].HTML}
}

// FindText gives where the text of that name stands, or -1. Case has no meaning.
func (c *Config) FindText(name string) int {
	return slices.IndexFunc(c.Texts, func(t TextResource) bool { return strings.EqualFold(t.Name, name) })
}

func (k checker) texts() error {
	const path = "text_resources/text_resource"
	if len(k.c.Texts) > 0 && k.c.Role != string(Gateway) {
		return k.at("text_resources", 0, "", "text resources are a setting of a gateway")
	}
	if len(k.c.Texts) > maxTexts {
		return k.at("text_resources", 0, "", "there are more than %d text resources", maxTexts)
	}
	for i, t := range k.c.Texts {
		if err := filter.CheckResourceName(t.Name); err != nil {
			return k.at(path, i, "text_name", "%s", err)
		}
		if k.c.FindText(t.Name) < i {
			return k.at(path, i, "text_name", "text %s stands twice", t.Name)
		}
		for _, part := range []struct{ name, text string }{{"plain", t.Text}, {"html", t.HTML}} {
			if err := filter.CheckText(part.text); err != nil {
				return k.at(path, i, part.name, "text %s: %s", t.Name, err)
			}
		}
		if strings.TrimSpace(t.Text) == "" {
			return k.at(path, i, "plain", "text %s is empty", t.Name)
		}
	}
	return nil
}

// Set changes one form of the text.
func (t *TextResource) Set(form, text string) error {
	switch form {
	case "plain":
		t.Text = text
	case "html":
		t.HTML = text
	default:
		return errs.New(errs.Invalid, "the form is plain or html, not %q", clip(form))
	}
	return nil
}
