"""Networks for other simulators and chips: as NIR graphs, back again, and compared with what others make of them."""
