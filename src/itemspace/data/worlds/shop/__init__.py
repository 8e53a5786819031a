"""The demo shop: an outdoor and home shop with a catalogue, two years of events, searches, pictures and a known truth."""

from itemspace.data.worlds.shop.files import shop_tables, write_shop
from itemspace.data.worlds.shop.make import ShopTruth, demo_shop, shop_world

__all__ = ["ShopTruth", "demo_shop", "shop_tables", "shop_world", "write_shop"]
