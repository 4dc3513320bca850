package config

import (
	"slices"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/filter/match"
)

// Dictionary is a list of terms that filters look for (docs/filters.md).
type Dictionary struct {
	Name  string   `xml:"dictionary_name"`
	Case  bool     `xml:"case_sensitive"`
	Parts bool     `xml:"parts_of_words"`
	Terms []string `xml:"term"` // word, regular expression or smart identifier; behind a comma its weight
}

// Dictionary gives the dictionary of that name as filters use it, or nil.
func (c *Config) Dictionary(name string) *match.Dictionary {
	i := c.FindDictionary(name)
	if i < 0 {
		return nil
	}
	d, err := c.Dictionaries[i].compile()
	if err != nil {
		return nil // a checked configuration has none such
	}
	return d
}

// dictionaryOnce is Dictionary that makes each only once: many filters of many
// policies name the same. It is for one user.
func (c *Config) dictionaryOnce() func(string) *match.Dictionary {
	made := make(map[string]*match.Dictionary)
	return func(name string) *match.Dictionary {
		d, ok := made[name]
		if !ok {
			d = c.Dictionary(name)
			made[name] = d
		}
		return d
	}
}

// FindDictionary gives where the dictionary of that name stands, or -1.
func (c *Config) FindDictionary(name string) int {
	return slices.IndexFunc(c.Dictionaries, func(d Dictionary) bool { return d.Name == name })
}

func (d Dictionary) compile() (*match.Dictionary, error) {
	return match.NewDictionary(d.Name, d.Terms, match.DictionaryOptions{Case: d.Case, Parts: d.Parts})
}

// Parameters gives how the terms are meant, in a fixed order.
func (d Dictionary) Parameters() []Parameter {
	return []Parameter{{"case_sensitive", yesNo(d.Case)}, {"parts_of_words", yesNo(d.Parts)}}
}

// Set changes one parameter by its name.
func (d *Dictionary) Set(name, value string) error {
	to := map[string]*bool{"case_sensitive": &d.Case, "parts_of_words": &d.Parts}[strings.ToLower(name)]
	if to == nil {
		return errs.New(errs.Invalid, "%q is not a parameter; known are case_sensitive, parts_of_words", clip(name))
	}
	switch strings.ToLower(value) {
	case "yes", "y", "1", "on":
		*to = true
	case "no", "n", "0", "off":
		*to = false
	default:
		return errs.New(errs.Invalid, "%s is yes or no, not %q", name, clip(value))
	}
	return nil
}

// Add puts a term into the dictionary, in place of the same one with another
// weight.
func (d *Dictionary) Add(term string) error {
	line, err := match.ParseLine(term)
	if err != nil {
		return err
	}
	d.Terms = append(slices.DeleteFunc(slices.Clone(d.Terms), sameTerm(line.Text)), line.String())
	return nil
}

// Remove takes a term out, with or without its weight.
func (d *Dictionary) Remove(term string) error {
	line, err := match.ParseLine(term)
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(slices.Clone(d.Terms), sameTerm(line.Text))
	if len(left) == len(d.Terms) {
		return errs.New(errs.NotFound, "dictionary %s has no term %q", d.Name, clip(line.Text))
	}
	d.Terms = left
	return nil
}

func sameTerm(text string) func(string) bool {
	return func(s string) bool {
		line, err := match.ParseLine(s)
		return err == nil && line.Text == text
	}
}

func (k checker) dictionaries() error {
	if len(k.c.Dictionaries) > 0 && k.c.Role != string(Gateway) {
		return k.at("dictionaries", 0, "", "dictionaries are a setting of a gateway")
	}
	const path = "dictionaries/dictionary"
	terms := 0
	for i, d := range k.c.Dictionaries {
		if err := match.CheckDictionaryName(d.Name); err != nil {
			return k.at(path, i, "dictionary_name", "%s", err)
		}
		if k.c.FindDictionary(d.Name) < i {
			return k.at(path, i, "dictionary_name", "dictionary %s stands twice", d.Name)
		}
		if _, err := d.compile(); err != nil {
			return k.at(path, i, "", "dictionary %s: %s", d.Name, errs.Public(err))
		}
		if terms += len(d.Terms); terms > match.MaxAllTerms {
			return k.at(path, i, "", "all dictionaries together have more than %d terms", match.MaxAllTerms)
		}
	}
	return nil
}
