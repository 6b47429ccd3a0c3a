"""Pictures: images, arrays, figures and charts as blocks."""
