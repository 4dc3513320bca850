package access

import (
	"slices"
	"strings"

	"lazaret/internal/errs"
)

// Every edit gives a copy and goes through the parser, so that a change by
// command has the one check that it has in a file.

// With gives a copy of the table with an entry added to a group. Adding what
// is there already changes nothing. It is how pairing admits a peer.
func (h *HAT) With(group, entry, comment string) (*HAT, error) {
	if _, err := parseCondition(entry); err != nil {
		return nil, errs.New(errs.Invalid, "sender group %s: %s", clip(group), errs.Public(err))
	}
	if strings.IndexFunc(comment, unprintable) >= 0 {
		return nil, errs.New(errs.Invalid, "the comment has a control character")
	}
	return h.edit(group, func(g *Group) {
		for _, e := range g.Entries {
			if e.Text == entry {
				return
			}
		}
		g.Entries = append(g.Entries, Entry{Text: entry, Comment: comment})
	})
}

// Without gives a copy of the table with an entry taken out of a group.
func (h *HAT) Without(group, entry string) (*HAT, error) {
	return h.edit(group, func(g *Group) {
		kept := g.Entries[:0]
		for _, e := range g.Entries {
			if e.Text != entry {
				kept = append(kept, e)
			}
		}
		g.Entries = kept
	})
}

func (h *HAT) edit(group string, change func(*Group)) (*HAT, error) {
	out := &HAT{policies: h.policies}
	found := false
	for _, g := range h.Groups() {
		if g.Name == group && group != All {
			change(&g)
			found = true
		}
		out.groups = append(out.groups, &g)
	}
	if !found {
		return nil, errs.New(errs.NotFound, "the HAT has no sender group %q to change", clip(group))
	}
	// Through the parser, so that an entry has the one check it has in a file.
	return ParseHAT(out.String())
}

// WithGroup gives a copy with a new sender group in front of the one named
// before; empty is the end, which is in front of ALL.
func (h *HAT) WithGroup(g Group, before string) (*HAT, error) {
	if !validName(g.Name) {
		return nil, errs.New(errs.Invalid, "sender group name %q: 1 to %d letters, digits, - and _", clip(g.Name), maxName)
	}
	if err := checkNotes(g); err != nil {
		return nil, err
	}
	groups := h.Groups()
	if groupAt(groups, g.Name) >= 0 {
		return nil, errs.New(errs.Conflict, "the HAT has a sender group %q already", g.Name)
	}
	i, err := place(groups, before)
	if err != nil {
		return nil, err
	}
	return h.with(h.Policies(), slices.Insert(groups, i, g))
}

// WithoutGroup gives a copy without a sender group.
func (h *HAT) WithoutGroup(name string) (*HAT, error) {
	groups := h.Groups()
	i, err := movable(groups, name)
	if err != nil {
		return nil, err
	}
	return h.with(h.Policies(), slices.Delete(groups, i, i+1))
}

// MoveGroup gives a copy with a sender group in front of another.
func (h *HAT) MoveGroup(name, before string) (*HAT, error) {
	groups := h.Groups()
	i, err := movable(groups, name)
	if err != nil {
		return nil, err
	}
	g := groups[i]
	groups = slices.Delete(groups, i, i+1)
	if i, err = place(groups, before); err != nil {
		return nil, err
	}
	return h.with(h.Policies(), slices.Insert(groups, i, g))
}

// SetPolicy gives a copy in which a sender group, ALL included, has another
// mail flow policy.
func (h *HAT) SetPolicy(group, policy, comment string) (*HAT, error) {
	groups := h.Groups()
	i := groupAt(groups, group)
	if i < 0 {
		return nil, noGroup(group)
	}
	groups[i].Policy, groups[i].Comment = policy, comment
	if err := checkNotes(groups[i]); err != nil {
		return nil, err
	}
	return h.with(h.Policies(), groups)
}

// WithPolicy gives a copy with a mail flow policy, new or in place of the one
// of that name. body is what stands behind the name in a file: "ACCEPT {tls =
// required}".
func (h *HAT) WithPolicy(name, body string) (*HAT, error) {
	if !validName(name) {
		return nil, errs.New(errs.Invalid, "policy name %q: 1 to %d letters, digits, - and _", clip(name), maxName)
	}
	// A table of this policy alone reads the body; more than one is refused there.
	one, err := ParseHAT("$" + name + "\n" + body + "\nALL\n$" + name + "\n")
	if err != nil {
		return nil, errs.New(errs.Invalid, "policy $%s: %s", name, errs.Public(err))
	}
	if n := len(one.policies); n != 1 || len(one.groups) != 1 {
		return nil, errs.New(errs.Invalid, "policy $%s: one definition such as ACCEPT {tls = required} is expected", name)
	}
	policies := h.Policies()
	i := slices.IndexFunc(policies, func(p Policy) bool { return p.Name == name })
	if i < 0 {
		policies = append(policies, *one.policies[0])
	} else {
		policies[i] = *one.policies[0]
	}
	return h.with(policies, h.Groups())
}

// WithoutPolicy gives a copy without a mail flow policy that no group uses.
func (h *HAT) WithoutPolicy(name string) (*HAT, error) {
	policies := h.Policies()
	i := slices.IndexFunc(policies, func(p Policy) bool { return p.Name == name })
	if i < 0 {
		return nil, errs.New(errs.NotFound, "the HAT has no policy $%s", clip(name))
	}
	for _, g := range h.groups {
		if g.Policy == name {
			return nil, errs.New(errs.Conflict, "policy $%s is the one of sender group %s", name, g.Name)
		}
	}
	return h.with(slices.Delete(policies, i, i+1), h.Groups())
}

// with makes a table of parts, through the text.
func (h *HAT) with(policies []Policy, groups []Group) (*HAT, error) {
	out := &HAT{}
	for i := range policies {
		out.policies = append(out.policies, &policies[i])
	}
	for i := range groups {
		out.groups = append(out.groups, &groups[i])
	}
	return ParseHAT(out.String())
}

// checkNotes keeps what is written between the lines from being lines.
func checkNotes(g Group) error {
	notes := []string{g.Comment}
	for _, e := range g.Entries {
		if _, err := parseCondition(e.Text); err != nil {
			return errs.New(errs.Invalid, "sender group %s: %s", clip(g.Name), errs.Public(err))
		}
		notes = append(notes, e.Comment)
	}
	if slices.ContainsFunc(notes, func(n string) bool { return strings.IndexFunc(n, unprintable) >= 0 }) {
		return errs.New(errs.Invalid, "the comment has a control character")
	}
	if !validName(g.Policy) {
		return errs.New(errs.Invalid, "policy name %q: 1 to %d letters, digits, - and _", clip(g.Policy), maxName)
	}
	return nil
}

func groupAt(groups []Group, name string) int {
	return slices.IndexFunc(groups, func(g Group) bool { return g.Name == name })
}

// movable gives the place of a group that is not ALL.
func movable(groups []Group, name string) (int, error) {
	if name == All {
		return 0, errs.New(errs.Invalid, "ALL is the last group and stays where it is")
	}
	if i := groupAt(groups, name); i >= 0 {
		return i, nil
	}
	return 0, noGroup(name)
}

// place gives the index in front of a group; the end is in front of ALL.
func place(groups []Group, before string) (int, error) {
	if before == "" {
		before = All
	}
	if i := groupAt(groups, before); i >= 0 {
		return i, nil
	}
	return 0, noGroup(before)
}

func noGroup(name string) error {
	return errs.New(errs.NotFound, "the HAT has no sender group %q", clip(name))
}
