"""Reads XML documents with expat and with libxml2, and says what each of them saw.

For peers.rs, which starts this once and keeps it. On the standard input: documents, each after its length in four bytes.
On the standard output: one line of JSON for each, {"expat": READING, "libxml2": READING}. A READING is what was seen of
the root, or {"error": TEXT} where the parser refuses. An element is [namespace, name, attributes, children]; attributes
are [namespace, name, value] and sorted; a child is an element or a text. What an XMPP stream must not have (RFC 6120
§11.1) shows as a child that is no element and no text.
"""

import json
import struct
import sys
from xml.parsers import expat

from lxml import etree

SEPARATOR = " "


def split(name):
    """A name as expat gives it: the namespace, if there is one, before the last separator."""
    namespace, _, local = name.rpartition(SEPARATOR)
    return namespace, local


def attributes(pairs):
    return sorted([namespace, name, value] for (namespace, name), value in pairs)


def with_expat(document):
    top = ["", "", [], []]
    open_elements = [top]

    def start(name, attrs):
        pairs = zip(attrs[::2], attrs[1::2])
        element = [*split(name), attributes((split(name), value) for name, value in pairs), []]
        open_elements[-1][3].append(element)
        open_elements.append(element)

    def end(_name):
        open_elements.pop()

    def text(data):
        children = open_elements[-1][3]
        if children and isinstance(children[-1], str):
            children[-1] += data
        else:
            children.append(data)

    def forbidden(*what):
        open_elements[-1][3].append({"forbidden": repr(what)})

    parser = expat.ParserCreate(namespace_separator=SEPARATOR)
    parser.ordered_attributes = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.CommentHandler = forbidden
    parser.ProcessingInstructionHandler = forbidden
    parser.StartDoctypeDeclHandler = forbidden
    parser.Parse(document, True)
    (root,) = top[3]
    return root


def qname(name):
    name = etree.QName(name)
    return name.namespace or "", name.localname


def of_lxml(element):
    if not isinstance(element.tag, str):
        return {"forbidden": repr(element)}
    children = [element.text] if element.text else []
    for child in element:
        children.append(of_lxml(child))
        if child.tail:
            children.append(child.tail)
    attrs = attributes((qname(name), value) for name, value in element.attrib.items())
    return [*qname(element.tag), attrs, children]


def with_libxml2(document):
    # Where it leaves references in place, it leaves "&#38;" for "&amp;" in namespaces, which is its fault.
    parser = etree.XMLParser(recover=False, resolve_entities=True, no_network=True)
    root = etree.fromstring(document, parser)
    if root.getprevious() is not None or root.getnext() is not None or root.getroottree().docinfo.doctype:
        return {"forbidden": "beside the root"}
    return of_lxml(root)


def reading(read, document):
    try:
        return read(document)
    except (expat.ExpatError, etree.XMLSyntaxError, ValueError) as error:
        return {"error": str(error)}


def main():
    documents = sys.stdin.buffer
    while length := documents.read(4):
        document = documents.read(*struct.unpack(">I", length))
        seen = {"expat": reading(with_expat, document), "libxml2": reading(with_libxml2, document)}
        print(json.dumps(seen), flush=True)


main()
