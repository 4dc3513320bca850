package config

import (
	"slices"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/filter"
	"lazaret/internal/policy"
)

// ContentFilter is one content filter of a direction (docs/filters.md).
type ContentFilter struct {
	Table       string   `xml:"table"`
	Name        string   `xml:"filter_name"`
	Description string   `xml:"description"`
	Inactive    bool     `xml:"inactive"`
	Match       string   `xml:"match"` // all or any of the conditions; empty: all
	Conditions  []string `xml:"condition"`
	Actions     []string `xml:"action"`
}

// maxContentFilters is of both directions.
const maxContentFilters = 500

// filter gives it as the engine takes it.
func (f ContentFilter) filter() filter.ContentFilter {
	return filter.ContentFilter{Name: f.Name, Inactive: f.Inactive, Any: f.Match == "any", Conditions: f.Conditions, Actions: f.Actions}
}

// ContentSets gives the content filters of each policy that has any, ready for
// the gateway.
func (c *Config) ContentSets() (map[policy.Key]*filter.Set, error) {
	sets := make(map[policy.Key]*filter.Set)
	made := make(map[string]*filter.Set) // by the names of the filters: most policies have those of DEFAULT
	site := c.Site()
	for _, table := range []string{Inbound, Outbound} {
		names := []string{policy.Default}
		for _, p := range c.MailPolicies {
			if p.Table == table && p.Name != policy.Default {
				names = append(names, p.Name)
			}
		}
		for _, name := range names {
			list := c.contentOf(table, name)
			if len(list) == 0 {
				continue
			}
			key := table
			for _, f := range list {
				key += " " + f.Name // names have no blanks
			}
			if made[key] == nil {
				set, err := filter.NewContent(table, list)
				if err != nil {
					return nil, err
				}
				made[key] = set.For(site)
			}
			sets[policy.Key{Table: table, Name: name}] = made[key]
		}
	}
	return sets, nil
}

// contentOf gives the filters that run for a policy, in the order of the
// direction.
func (c *Config) contentOf(table, name string) (list []filter.ContentFilter) {
	var row, def MailPolicy
	for _, p := range c.MailPolicies {
		if p.Table == table && p.Name == name {
			row = p
		}
		if p.Table == table && p.Name == policy.Default {
			def = p
		}
	}
	on := row.Content
	switch row.ContentMode {
	case "off":
		return nil
	case "", "default":
		on = def.Content
	}
	for _, f := range c.ContentFilters {
		if f.Table == table && slices.ContainsFunc(on, func(n string) bool { return strings.EqualFold(n, f.Name) }) {
			list = append(list, f.filter())
		}
	}
	return list
}

// FindContentFilter gives where the filter of that name stands, or -1.
func (c *Config) FindContentFilter(table, name string) int {
	return slices.IndexFunc(c.ContentFilters, func(f ContentFilter) bool { return f.Table == table && strings.EqualFold(f.Name, name) })
}

// ContentUses gives which content filters name which quarantine.
func (c *Config) ContentUses() (out []filter.Use) {
	for _, f := range c.ContentFilters {
		uses := filter.ContentQuarantines([]filter.ContentFilter{f.filter()})
		for i := range uses {
			uses[i].Filter = f.Table + " content filter " + uses[i].Filter
		}
		out = append(out, uses...)
	}
	return out
}

// Parameters gives what of a content filter can be changed, in a fixed order.
func (f ContentFilter) Parameters() []Parameter {
	all := []Parameter{{"description", f.Description}, {"active", yesNo(!f.Inactive)}, {"match", cmpOr(f.Match, "all")}}
	for _, c := range f.Conditions {
		all = append(all, Parameter{"condition", c})
	}
	for _, a := range f.Actions {
		all = append(all, Parameter{"action", a})
	}
	return all
}

// Set changes one parameter by its name. A condition or action is added to those
// there are; an empty one takes all of them away.
func (f *ContentFilter) Set(name, value string) error {
	switch strings.ToLower(name) {
	case "description":
		f.Description = value
	case "active":
		switch strings.ToLower(value) {
		case "yes", "1":
			f.Inactive = false
		case "no", "0":
			f.Inactive = true
		default:
			return errs.New(errs.Invalid, "active is yes or no, not %q", clip(value))
		}
	case "match":
		f.Match = value
	case "condition":
		f.Conditions = added(f.Conditions, value)
	case "action":
		f.Actions = added(f.Actions, value)
	default:
		return errs.New(errs.Invalid, "%q is not a parameter; known are description, active, match, condition, action", clip(name))
	}
	return nil
}

func added(list []string, value string) []string {
	if value == "" {
		return nil
	}
	return append(slices.Clip(list), value)
}

func (k checker) contentFilters() error {
	if len(k.c.ContentFilters) > 0 && k.c.Role != string(Gateway) {
		return k.at("content_filters", 0, "", "content filters are a setting of a gateway")
	}
	const path = "content_filters/content_filter"
	if len(k.c.ContentFilters) > maxContentFilters {
		return k.at("content_filters", 0, "", "there are more than %d content filters", maxContentFilters)
	}
	for i, f := range k.c.ContentFilters {
		switch {
		case f.Table != Inbound && f.Table != Outbound:
			return k.at(path, i, "table", "table is inbound or outbound, not %q", clip(f.Table))
		case f.Match != "" && f.Match != "all" && f.Match != "any":
			return k.at(path, i, "match", "match is all or any, not %q", clip(f.Match))
		case len(f.Description) > 500:
			return k.at(path, i, "description", "the description is longer than 500 bytes")
		case k.c.FindContentFilter(f.Table, f.Name) < i:
			return k.at(path, i, "filter_name", "there are two %s content filters %s", f.Table, clip(f.Name))
		}
		if _, err := filter.NewContent(f.Table, []filter.ContentFilter{f.filter()}); err != nil {
			return k.at(path, i, "", "%s", errs.Public(err))
		}
	}
	for i, p := range k.c.MailPolicies {
		if err := k.contentNames(p); err != nil {
			return k.at("mail_policies/mail_policy", i, "content_filter", "%s", errs.Public(err))
		}
	}
	return nil
}

// contentNames finds what is wrong with the content filters of a policy.
func (k checker) contentNames(p MailPolicy) error {
	switch p.ContentMode {
	case "custom":
	case "", "default", "off":
		if len(p.Content) > 0 {
			return errs.New(errs.Invalid, "content_filter needs content_filters custom")
		}
	default:
		return errs.New(errs.Invalid, "content_filters is default, custom or off, not %q", clip(p.ContentMode))
	}
	for _, name := range p.Content {
		if k.c.FindContentFilter(p.Table, name) < 0 {
			return errs.New(errs.Invalid, "policy %s: there is no %s content filter %q", clip(p.Name), p.Table, clip(name))
		}
	}
	return nil
}
