package filter

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"lazaret/internal/filter/match"
	"lazaret/internal/mail"
)

// What arguments of actions can be. Each function reads one.

func quarantineName(text string) (argument, error) { return argument{}, checkQuarantine(text) }

func newField(text string) (argument, error) {
	_, err := mail.NewHeader(text, "")
	return argument{}, err
}

func field(text string) (argument, error) { return argument{}, checkField(text) }

func expression(text string) (arg argument, err error) {
	arg.re, err = match.Compile(text, false)
	return arg, err
}

func folded(text string) (arg argument, err error) {
	arg.re, err = match.Compile(text, true)
	return arg, err
}

// plainText is without variables: the groups of the expression are what it can
// name.
func plainText(string) (argument, error) { return argument{}, nil }

func withVariables(text string) (arg argument, err error) {
	arg.tmpl, err = parseTemplate(text)
	return arg, err
}

// notice is what stands in place of an attachment.
func notice(text string) (arg argument, err error) {
	arg.tmpl, err = parseTemplate(text, droppedVariables[:]...)
	return arg, err
}

func term(text string) (arg argument, err error) {
	arg.term, err = match.NewTerm(text)
	return arg, err
}

func dictionaryName(text string) (argument, error) {
	return argument{}, match.CheckDictionaryName(text)
}

// maxResource is the longest name of a text resource or an archive.
const maxResource = 40

// resourceForm is how texts and archives are called: an archive is a file.
var resourceForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$`)

// CheckResourceName knows what texts and archives are called.
func CheckResourceName(name string) error {
	if !resourceForm.MatchString(name) || strings.Contains(name, "..") {
		return fmt.Errorf("%q is no name: 1 to %d letters, figures, hyphens, dots and underscores, of which the first is a letter or a figure", clip(name), maxResource)
	}
	return nil
}

// resource is the name of a text; whether there is one is found out by For.
func resource(text string) (argument, error) { return argument{}, CheckResourceName(text) }

func archiveName(text string) (argument, error) { return argument{}, CheckResourceName(text) }

func address(text string) (arg argument, err error) {
	arg.to, err = mail.ParseAddress(text)
	if err == nil && arg.to.IsNull() {
		err = fmt.Errorf("the null path is nobody's address")
	}
	return arg, err
}

// host reads a domain or an address; arg.text is as a destination is called.
func host(text string) (arg argument, err error) {
	name := strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	if ip, e := netip.ParseAddr(name); e == nil && ip.Zone() == "" {
		if ip.Is6() && !ip.Is4In6() {
			arg.host = "[IPv6:" + ip.String() + "]"
		} else {
			arg.host = "[" + ip.Unmap().String() + "]"
		}
		return arg, nil
	}
	if arg.host, err = mail.ParseDomain(text); err != nil {
		return arg, fmt.Errorf("%q is neither a domain nor an IP address", clip(text))
	}
	return arg, nil
}

func interfaceName(text string) (argument, error) {
	return argument{}, checkName("an interface", text, maxText)
}

func profileName(text string) (argument, error) {
	return argument{}, checkName("a bounce profile", text, maxText)
}

// maxTags is how many tags a filter run may set; more are not kept.
const maxTags = 50

func tag(text string) (argument, error) { return argument{}, checkName("a tag", text, 64) }

// maxPeople is how many addresses one notify may name.
const maxPeople = 20

// people reads addresses with commas between them, and the variables for those
// of the message.
func people(text string) (arg argument, err error) {
	for _, word := range strings.Split(text, ",") {
		switch word = strings.TrimSpace(word); strings.ToLower(word) {
		case "$envelopefrom":
			arg.people.sender = true
			continue
		case "$enveloperecipients":
			arg.people.recipients = true
			continue
		}
		a, err := address(word)
		if err != nil {
			return arg, fmt.Errorf("%q is neither an address nor $EnvelopeFrom or $EnvelopeRecipients", clip(word))
		}
		if arg.people.to = append(arg.people.to, a.to); len(arg.people.to) > maxPeople {
			return arg, fmt.Errorf("more than %d addresses", maxPeople)
		}
	}
	return arg, nil
}

// sender is what the field From of a notice has; empty as all mail of the system.
func sender(text string) (argument, error) {
	if text == "" {
		return argument{}, nil
	}
	name, addr, named := strings.Cut(text, "<")
	if !named {
		name, addr = "", text
	} else if addr, named = strings.CutSuffix(addr, ">"); !named {
		addr = ""
	}
	a, err := mail.ParseAddress(addr)
	if err != nil || a.IsNull() || strings.ContainsAny(name, "\"<>()[]:;@\\,") || harmless(text) != text {
		return argument{}, fmt.Errorf("%q is no address, nor Name <address>", clip(text))
	}
	return argument{}, nil
}
