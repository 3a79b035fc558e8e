"""Paths as routing rules see them: RFC 3986, section 6.2.2; RFC 9110, section 4.2.3. Only /open and / are open here.
What goes to the backend stays as it came, so that signatures over paths hold."""

from case import Case, get, refused


def opened(name, target, **more):
    return Case("3986 6.2.2", name, get(target=target), 200, **more)


def closed(name, target):
    return Case("3986 6.2.2", name, get(target=target), 404, reached=0, ends="open")


CASES = [
    opened("plain", b"/open/x"),
    opened("end of a segment", b"/open"),
    closed("not in the middle of a segment", b"/opener"),
    closed("other path", b"/closed/x"),
    closed("dot segments lead out", b"/open/../closed"),
    closed("dot segments lead out from below", b"/open/a/b/../../../closed"),
    opened("dot segments lead in", b"/closed/../open/x", sees=rb"^GET /closed/\.\./open/x "),
    opened("single dots", b"/./open/./x"),
    closed("escaped dots lead out", b"/open/%2e%2e/closed"),
    closed("escaped dots in capitals lead out", b"/open/%2E%2E/closed"),
    closed("half-escaped dots lead out", b"/open/.%2e/closed"),
    closed("escaped slashes lead out", b"/open/..%2fclosed"),
    closed("everything escaped leads out", b"/open%2f%2e%2e%2fclosed"),
    opened("escaped letters", b"/%6fpe%6E/x", sees=rb"^GET /%6fpe%6E/x "),
    opened("two slashes", b"//open//x", sees=rb"^GET //open//x "),
    closed("two slashes, other path", b"//closed"),
    closed("dots behind a semicolon lead out", b"/open/..;/closed"),
    closed("dots behind a semicolon with more lead out", b"/open/..;a=b/closed"),
    opened("dots twice escaped are no dots", b"/open/%252e%252e/closed", sees=rb"%252e%252e"),
    opened("dots as a part of a name", b"/open/..x/...", sees=rb"/open/\.\.x/\.\.\. "),
    opened("letters are not the same in capitals: below", b"/open/CLOSED"),
    closed("letters are not the same in capitals", b"/OPEN/x"),
    opened("dots in the query are no path", b"/open/x?/../../closed"),
    refused("3986 6.2.2", "above the root", get(target=b"/../open/x")),
    refused("3986 6.2.2", "above the root, escaped", get(target=b"/open/%2e%2e/%2e%2e/open/x")),
    refused("3986 2.1", "broken escape", get(target=b"/open/%zz")),
    refused("3986 2.1", "escape cut short", get(target=b"/open/%2")),
    refused("3986 2.1", "escaped NUL", get(target=b"/open/%00")),
    refused("3986 3.3", "backslash", get(target=b"/open/..\\closed"), why="a slash to some applications, a letter to others"),
    refused("3986 3.3", "escaped backslash", get(target=b"/open/..%5cclosed"), why="as a backslash"),
    refused("3986 2.1", "escaped CR LF", get(target=b"/open/%0d%0aX-A:%201"), why="no path needs control bytes; who decodes and logs or redirects does"),
]
