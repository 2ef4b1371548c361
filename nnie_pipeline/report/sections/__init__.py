"""The sections of the page, one module each.

A section is a function `context(build, t)`: what its template, `templates/sections/NAME.html`,
is filled with; a `title` among them takes the place of the text `NAME.title`. It raises
`MissingError` when the build lacks what it cannot do without.
"""
